"""From plain values to a scenario. Every error names its key."""

from __future__ import annotations

import re
import tomllib
from functools import partial

import attrs

from esps_portal.faults.fault_types import FaultError, check_key, known
from esps_portal.journal.values import (
    BASE64,
    ScenarioError,
    Table,
    read_count,
    read_name,
    read_octets,
    read_row,
    read_seconds,
    read_text,
    read_truth,
    shown,
)
from esps_portal.mock.matching import ANY, ANY_ARGS, Matcher
from esps_portal.mock.scenario import PlannedFault, PlannedStub, Scenario, offending_key
from esps_portal.mock.stubs import Answer, Step
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import ERR, OK
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_ANSWER_KEYS = ("reply", "fail", "data", "delay", "then_close", "times")
_STUB_KEYS = ("service", "args", "more_args", *_ANSWER_KEYS, "answers", "optional")


def read_scenario_toml(text: str) -> Scenario:
    """Return the scenario of a TOML text.

    Raises:
        ScenarioError: it is not TOML, and where; or not a scenario.
    """
    try:
        plain = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ScenarioError("", f"not TOML: {error}") from error
    return read_scenario(plain)


def read_scenario(plain: object, path: str = "") -> Scenario:
    """Return a scenario."""
    table = Table.of(plain, path, ("stubs", "faults", "limits"))
    return Scenario(
        stubs=table.get("stubs", partial(read_row, read_stub), ()),
        faults=table.get("faults", partial(read_row, read_fault), ()),
        limits=table.get("limits", _limits, {}),
    )


def read_stub(plain: object, path: str = "") -> PlannedStub:
    """Return one stub."""
    table = Table.of(plain, path, _STUB_KEYS)
    args: tuple[Matcher, ...] = table.get("args", partial(read_row, _wanted), ())
    if table.get("more_args", read_truth, default=False):
        args = (*args, ANY_ARGS)
    return PlannedStub(
        service=table.required("service", read_name),
        args=args,
        answers=_answers(table),
        optional=table.get("optional", read_truth, default=False),
    )


def read_fault(plain: object, path: str = "") -> PlannedFault:
    """Return one fault, its values checked."""
    table = Table.of(plain, path, None)
    kind = table.required("fault", read_text)
    try:
        word = known(kind)
    except FaultError as error:
        raise table.error("fault", str(error)) from error
    said = {key: value for key, value in table.values.items() if key not in ("fault", "optional")}
    for key in said:
        try:
            check_key(kind, word, key)
        except FaultError as error:
            raise table.error(key, str(error)) from error
    planned = PlannedFault(kind, said, table.get("optional", read_truth, default=False))
    planned.make(path)
    return planned


# ---- stubs -------------------------------------------------------------------------------------


def _answers(table: Table) -> tuple[Answer, ...]:
    """Return the answers of a stub: the list, or the one that is part of the stub itself."""
    beside = [key for key in _ANSWER_KEYS if key in table.values]
    if "answers" not in table.values:
        return (_answer(table),) if beside else ()
    if beside:
        raise table.error(beside[0], "it belongs in one of the answers, or there are no answers")

    def read(plain: object, path: str) -> Answer:
        return _answer(Table.of(plain, path, _ANSWER_KEYS))

    return table.required("answers", partial(read_row, read))


def _answer(table: Table) -> Answer:
    if "reply" in table.values and "fail" in table.values:
        raise table.error("fail", "an answer is a reply or a failure, not both")
    nothing: tuple[Step, ...] = ()
    steps = list(table.get("data", partial(read_row, _step), nothing))
    if "delay" in table.values:
        steps.append(table.required("delay", read_seconds))
    answer = Answer(
        steps=steps,
        times=table.get("times", read_count, None),
        closes=table.get("then_close", read_truth, default=False),
        done=True,
    )
    if "fail" in table.values:
        answer.kind, answer.args = ERR, table.required("fail", _failure)
    else:
        answer.kind, answer.args = OK, table.get("reply", _arguments, ())
    return answer


def _step(plain: object, path: str) -> Step:
    """Return a DATA line, or a wait between two: ``{delay = 0.5}``."""
    if isinstance(plain, dict) and plain.keys() == {"delay"}:
        return read_seconds(plain["delay"], f"{path}.delay")
    return _arguments(plain, path)


def _failure(plain: object, path: str) -> tuple[bytes, ...]:
    row = plain if isinstance(plain, list) else [plain]
    if not row:
        raise ScenarioError(path, "an error code, and words, not []")
    code = read_name(row[0], f"{path}[0]" if isinstance(plain, list) else path)
    return (
        code.encode(),
        *(read_octets(word, f"{path}[{n}]") for n, word in enumerate(row[1:], 1)),
    )


def _arguments(plain: object, path: str) -> tuple[bytes, ...]:
    """Return a list of arguments; a single one needs no list around it."""
    return (
        read_row(read_octets, plain, path)
        if isinstance(plain, list)
        else (read_octets(plain, path),)
    )


def _wanted(plain: object, path: str) -> Matcher:
    if isinstance(plain, str):
        return read_octets(plain, path)
    if not isinstance(plain, dict):
        words = "text, or a table with b64, any or regex"
        raise ScenarioError(path, f"{words}, not {shown(plain)}")
    table = Table.of(plain, path, (BASE64, "any", "regex"))
    if len(table.values) != 1:
        raise ScenarioError(path, "exactly one of b64, any, regex")
    if "any" in table.values:
        if table.values["any"] is not True:
            raise table.error("any", f"true, not {shown(table.values['any'])}")
        return ANY
    return (
        table.required("regex", _pattern) if "regex" in table.values else read_octets(plain, path)
    )


def _pattern(plain: object, path: str) -> Matcher:
    """Return a regular expression: of text; or of octets, where it is written in base64."""
    octets = read_octets(plain, path)
    try:
        return re.compile(octets) if isinstance(plain, dict) else re.compile(octets.decode())
    except (re.error, OverflowError, RecursionError) as error:
        raise ScenarioError(path, f"no regular expression: {error}") from error


# ---- limits ------------------------------------------------------------------------------------


def _limits(plain: object, path: str) -> dict[str, int | float]:
    defaults = attrs.asdict(Limits())
    if not isinstance(plain, dict):
        raise ScenarioError(path, f"a table of keys and values, not {shown(plain)}")
    found: dict[str, int | float] = {}
    written: dict[str, str] = {}
    for key, value in plain.items():
        name, where = key.replace("-", "_"), f"{path}.{key}"
        if name not in defaults:
            raise ScenarioError(where, f"there is no such key; there are {', '.join(defaults)}")
        if name in found:
            raise ScenarioError(where, "it is there twice, with - and _")
        written[name] = key
        if isinstance(defaults[name], float):
            found[name] = read_seconds(value, where)
        elif type(value) is int:
            found[name] = value
        else:
            raise ScenarioError(where, f"a whole number, not {shown(value)}")
    try:
        Limits(**found)  # type: ignore[arg-type]  # each has the type of its default
    except ValueError as error:
        name = offending_key(Limits, found, error)
        raise ScenarioError(f"{path}.{written[name]}", str(error)) from error
    return found
