"""From a scenario to plain values, and to TOML for a person to read and edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from esps_portal.journal.values import ScenarioError, in_base64, plain_octets
from esps_portal.mock.matching import ANY, ANY_ARGS, Matcher, shown
from esps_portal.mock.scenario import PlannedFault, PlannedStub, Scenario
from esps_portal.mock.stubs import Answer
from esps_portal.protocol.messages import ERR
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The flags that a regular expression can carry in its first characters.
_FLAGS = {
    re.ASCII: "a",
    re.IGNORECASE: "i",
    re.LOCALE: "L",
    re.MULTILINE: "m",
    re.DOTALL: "s",
    re.VERBOSE: "x",
}
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def plain_scenario(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as plain values.

    Raises:
        ScenarioError: it holds what cannot be written down: a predicate.
    """
    plain = {
        "limits": dict(scenario.limits),
        "stubs": [_stub(stub, f"stubs[{n}]") for n, stub in enumerate(scenario.stubs)],
        "faults": [_fault(fault) for fault in scenario.faults],
    }
    return {key: value for key, value in plain.items() if value}


def scenario_toml(scenario: Scenario) -> str:
    """Return a scenario as TOML.

    Raises:
        ScenarioError: it holds what cannot be written down: a predicate.
    """
    return "\n".join("\n".join(block) + "\n" for block in _blocks(plain_scenario(scenario)))


# ---- plain values ------------------------------------------------------------------------------


def _stub(stub: PlannedStub, path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {"service": stub.service}
    args = [arg for arg in stub.args if arg is not ANY_ARGS]
    if args:
        plain["args"] = [_wanted(arg, f"{path}.args[{n}]") for n, arg in enumerate(args)]
    if len(args) < len(stub.args):
        plain["more_args"] = True
    answers = [_answer(answer) for answer in stub.answers]
    if len(answers) == 1:
        plain |= answers[0]
    elif answers:
        plain["answers"] = answers
    if stub.optional:
        plain["optional"] = True
    return plain


def _answer(answer: Answer) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    *_, delay = answer.steps or [()]
    between = answer.steps[:-1] if isinstance(delay, float) else answer.steps
    if between:
        plain["data"] = [
            {"delay": step} if isinstance(step, float) else [plain_octets(arg) for arg in step]
            for step in between
        ]
    if isinstance(delay, float):
        plain["delay"] = delay
    row = [plain_octets(arg) for arg in answer.args]
    plain["fail" if answer.kind == ERR else "reply"] = row[0] if len(row) == 1 else row
    if answer.closes:
        plain["then_close"] = True
    if answer.times is not None:
        plain["times"] = answer.times
    return plain


def _wanted(wanted: Matcher, path: str) -> object:
    if wanted is ANY:
        return {"any": True}
    if isinstance(wanted, bytes):
        return plain_octets(wanted)
    if not isinstance(wanted, re.Pattern):
        raise ScenarioError(path, f"{shown(wanted)} is a program, which no scenario can hold")
    source = wanted.pattern
    if isinstance(source, bytes):
        # Base64 marks a pattern of octets, whatever its characters.
        written = _with_flags(wanted, source.decode("latin-1"), path)
        return {"regex": in_base64(written.encode("latin-1"))}
    return {"regex": _with_flags(wanted, source, path)}


def _with_flags(pattern: re.Pattern[Any], source: str, path: str) -> str:
    """Return a pattern with its flags written inside it."""
    octets = isinstance(pattern.pattern, bytes)

    def compiled(text: str) -> re.Pattern[Any]:
        return re.compile(text.encode("latin-1") if octets else text)

    flags = pattern.flags & ~re.DEBUG
    try:
        missing = flags & ~compiled(source).flags
    except re.error:  # it is valid only with its flags
        missing = flags
    letters = "".join(letter for flag, letter in _FLAGS.items() if missing & flag)
    written = f"(?{letters}){source}" if letters else source
    try:
        same = compiled(written).flags == flags
    except re.error:  # flags stand at its start already, and two such groups it cannot have
        same = False
    if not same:
        raise ScenarioError(path, f"the flags of {shown(pattern)} cannot be written in front of it")
    return written


def _fault(fault: PlannedFault) -> dict[str, Any]:
    said = {key: value[0] if _is_one(value) else value for key, value in fault.said.items()}
    plain = {"fault": fault.kind, **said}
    return plain | {"optional": True} if fault.optional else plain


def _is_one(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1


# ---- TOML --------------------------------------------------------------------------------------


def _blocks(plain: Mapping[str, Any]) -> Iterator[list[str]]:
    if "limits" in plain:
        yield ["[limits]", *_pairs(plain["limits"])]
    for name in ("stubs", "faults"):
        for table in plain.get(name, ()):
            yield [f"[[{name}]]", *_pairs(table)]


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key == "answers":
            # One to a line: they are a sequence, and are read as one.
            yield "answers = ["
            yield from (f"  {_value(answer)}," for answer in value)
            yield "]"
        else:
            yield f"{_key(key)} = {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        pairs = [f"{_key(key)} = {_value(below)}" for key, below in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    # Numbers and truth values are written alike in JSON and TOML.
    return json.dumps(value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """Return a basic string: JSON's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
