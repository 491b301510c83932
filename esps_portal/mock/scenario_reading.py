"""Reading a scenario from values or TOML. Every error names its key."""

from __future__ import annotations

import re
import tomllib
from functools import partial

import attrs

from esps_portal.journal.values import (
    BASE64,
    BYTE_ORDER_MARK,
    ScenarioError,
    ValueTable,
    check_nesting,
    nested_too_deep,
    read_bool,
    read_bytes,
    read_list,
    read_name,
    read_positive_integer,
    read_seconds,
    wrong_value,
)
from esps_portal.mock.answer_values import read_answers
from esps_portal.mock.match_values import read_pattern
from esps_portal.mock.matching import ANY, ANY_ARGS, Matcher
from esps_portal.mock.planned_fault import offending_key, read_fault
from esps_portal.mock.planned_peer import read_peer
from esps_portal.mock.planned_proxy import read_proxy
from esps_portal.mock.scenario import PlannedStub, Scenario
from esps_portal.mock.server_names import check_names
from esps_portal.mock.stubs import StubAnswer, StubStep
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import ERR, OK
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Parts of a key of TOML, as in a.b.c; a scenario needs two.
_MAX_PARTS = 32
# Nothing is tried twice: a hostile text costs time by its length only.
_DOTTED_KEY = re.compile(rf"(?<![\w-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{_MAX_PARTS}}}")
# Everything that is not a bare key: strings, which may be parts of a key, and comments.
_NO_KEY = re.compile(
    r"""
    \"{3} (?:\\.|[^\\])*? \"{3}
    | \'{3} .*? \'{3}
    | " (?:\\.|[^"\\\n])* "
    | ' [^'\n]* '
    | \# [^\n]*
    """,
    re.DOTALL | re.VERBOSE,
)

_ANSWER_KEYS = ("reply", "fail", "data", "delay", "then_close", "times")
_STUB_KEYS = ("service", "args", "more_args", *_ANSWER_KEYS, "answers", "optional")


def read_scenario_toml(text: str) -> Scenario:
    """Return the scenario of a TOML text.

    Raises:
        ScenarioError: it is not TOML, or not a scenario; the message says where.
    """
    return read_scenario(parse_toml(text))


def parse_toml(text: str) -> object:
    """Return the value of a TOML text.

    Raises:
        ScenarioError: it is not TOML.
    """
    text = text.removeprefix(BYTE_ORDER_MARK)
    _check_dotted_keys(text)
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError("", f"not TOML: {error}") from error
    except RecursionError as error:
        raise nested_too_deep() from error
    except ValueError as error:  # in Python's words: how a program may lift its limit
        raise ScenarioError("", "not TOML: an integer of thousands of digits") from error
    check_nesting(value)
    return value


def _check_dotted_keys(text: str) -> None:
    """Check that no key of TOML has too many parts: the parser takes memory by their square.

    Raises:
        ScenarioError: one has.
    """
    if _DOTTED_KEY.search(_NO_KEY.sub("_", text)):
        raise ScenarioError("", f"not TOML: a key of more than {_MAX_PARTS} parts")


def read_scenario(value: object) -> Scenario:
    """Return a scenario.

    Raises:
        ScenarioError: it is not a scenario; the message says which key is wrong.
    """
    table = ValueTable.of(value, "", ("stubs", "faults", "limits", "proxies", "peers"))
    scenario = Scenario(
        stubs=table.get("stubs", partial(read_list, read_stub), ()),
        faults=table.get("faults", partial(read_list, read_fault), ()),
        limits=table.get("limits", _limits, {}),
        proxies=table.get("proxies", partial(read_list, read_proxy), ()),
        peers=table.get("peers", partial(read_list, read_peer), ()),
    )
    names = {f"proxies[{number}].name": each.name for number, each in enumerate(scenario.proxies)}
    names |= {f"peers[{number}].name": each.name for number, each in enumerate(scenario.peers)}
    check_names(names)
    return scenario


def read_stub(value: object, path: str = "") -> PlannedStub:
    """Return the plan of a stub; as `read_scenario` does."""
    table = ValueTable.of(value, path, _STUB_KEYS)
    args: tuple[Matcher, ...] = table.get("args", partial(read_list, _matcher), ())
    if table.get("more_args", read_bool, default=False):
        args = (*args, ANY_ARGS)
    return PlannedStub(
        service=table.required("service", read_name),
        args=args,
        answers=read_answers(table, _ANSWER_KEYS, _answer),
        optional=table.get("optional", read_bool, default=False),
    )


# ---- stubs -------------------------------------------------------------------------------------


def _answer(table: ValueTable) -> StubAnswer:
    if "reply" in table.values and "fail" in table.values:
        raise table.error("fail", "an answer has either reply or fail, not both")
    nothing: tuple[StubStep, ...] = ()
    steps = list(table.get("data", partial(read_list, _step), nothing))
    if "delay" in table.values:
        steps.append(table.required("delay", read_seconds))
    answer = StubAnswer(
        steps=steps,
        times=table.get("times", read_positive_integer, None),
        closes=table.get("then_close", read_bool, default=False),
        done=True,
    )
    if "fail" in table.values:
        answer.kind, answer.args = ERR, table.required("fail", _failure)
    else:
        answer.kind, answer.args = OK, table.get("reply", _arguments, ())
    return answer


def _step(value: object, path: str) -> StubStep:
    """Return a DATA line, or a wait between two: ``{delay = 0.5}``."""
    if isinstance(value, dict) and value.keys() == {"delay"}:
        return read_seconds(value["delay"], f"{path}.delay")
    return _arguments(value, path)


def _failure(value: object, path: str) -> tuple[bytes, ...]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise wrong_value(path, "an error code, and text", value)
    code = read_name(items[0], f"{path}[0]" if isinstance(value, list) else path)
    return (
        code.encode(),
        *(read_bytes(text, f"{path}[{n}]") for n, text in enumerate(items[1:], 1)),
    )


def _arguments(value: object, path: str) -> tuple[bytes, ...]:
    """Return arguments: a list, or a single one."""
    return (
        read_list(read_bytes, value, path)
        if isinstance(value, list)
        else (read_bytes(value, path),)
    )


def _matcher(value: object, path: str) -> Matcher:
    if isinstance(value, str):
        return read_bytes(value, path)
    if not isinstance(value, dict):
        raise wrong_value(path, "text, or a table with b64, any or regex", value)
    table = ValueTable.of(value, path, (BASE64, "any", "regex"))
    if len(table.values) != 1:
        raise wrong_value(path, "exactly one of b64, any, regex", value)
    if "any" in table.values:
        if table.values["any"] is not True:
            raise wrong_value(table.path_of("any"), "true", table.values["any"])
        return ANY
    return (
        table.required("regex", read_pattern)
        if "regex" in table.values
        else read_bytes(value, path)
    )


# ---- limits ------------------------------------------------------------------------------------


def _limits(value: object, path: str) -> dict[str, int | float]:
    defaults = attrs.asdict(Limits())
    table = ValueTable.of(value, path, None)
    found: dict[str, int | float] = {}
    keys: dict[str, str] = {}
    for key in table.values:
        name = key.replace("-", "_")
        if name not in defaults:
            raise table.error(key, f"unknown key; choose from {', '.join(defaults)}")
        if name in found:
            raise table.error(key, "duplicate key, with - and with _")
        keys[name] = key
        is_float = isinstance(defaults[name], float)
        found[name] = table.required(key, read_seconds if is_float else _integer)
    try:
        Limits(**found)  # type: ignore[arg-type]  # each has the type of its default
    except ValueError as error:
        name = offending_key(Limits, found, error)
        raise table.error(keys[name], str(error)) from error
    return found


def _integer(value: object, path: str) -> int:
    if type(value) is not int:
        raise wrong_value(path, "an integer", value)
    return value
