"""Writing a scenario as values, and as TOML for a person to read and edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from esps_portal.journal.values import BARE_KEY, ScenarioError, bytes_to_base64, bytes_to_value
from esps_portal.mock.matching import ANY, ANY_ARGS, Matcher, describe_argument
from esps_portal.mock.planned_fault import PlannedFault
from esps_portal.mock.planned_peer import peer_to_values
from esps_portal.mock.planned_proxy import proxy_to_values
from esps_portal.mock.scenario import PlannedStub, Scenario
from esps_portal.mock.stubs import StubAnswer
from esps_portal.patterns.linear import LinearPattern, PatternError
from esps_portal.protocol.messages import ERR
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Source = TypeVar("_Source", str, bytes)

# Lists of a proxy or a peer, of which each has a table of its own.
_OWN_TABLES = ("stubs", "faults")
# The flags that can be written at the start of a regular expression, as in ``(?i)``.
_FLAGS = {
    re.ASCII: "a",
    re.IGNORECASE: "i",
    re.LOCALE: "L",
    re.MULTILINE: "m",
    re.DOTALL: "s",
    re.VERBOSE: "x",
}


def scenario_to_values(scenario: Scenario) -> dict[str, Any]:
    """Return a scenario as values for TOML or JSON.

    Raises:
        ScenarioError: a stub or a fault has a predicate, which cannot be written.
    """
    values = {
        "limits": dict(scenario.limits),
        "stubs": [stub_to_values(stub, f"stubs[{n}]") for n, stub in enumerate(scenario.stubs)],
        "faults": [
            fault_to_values(fault, f"faults[{n}]") for n, fault in enumerate(scenario.faults)
        ],
        "proxies": [
            proxy_to_values(proxy, fault_to_values, f"proxies[{n}]")
            for n, proxy in enumerate(scenario.proxies)
        ],
        "peers": [
            peer_to_values(peer, fault_to_values, frame_match_to_value, f"peers[{n}]")
            for n, peer in enumerate(scenario.peers)
        ],
    }
    return {key: value for key, value in values.items() if value}


def scenario_to_toml(scenario: Scenario) -> str:
    """Return a scenario as TOML.

    Raises:
        ScenarioError: a stub or a fault has a predicate, which cannot be written.
    """
    return "\n".join("\n".join(block) + "\n" for block in _blocks(scenario_to_values(scenario)))


def faults_to_toml(faults: Sequence[PlannedFault], table: str) -> str:
    """Return faults as TOML.

    Args:
        table: what each is in a scenario: ``faults``, ``proxies.faults`` or ``peers.faults``.

    Raises:
        ScenarioError: a fault has a predicate, which cannot be written.
    """
    values = [fault_to_values(fault, f"{table}[{n}]") for n, fault in enumerate(faults)]
    return "\n".join("\n".join([f"[[{table}]]", *_pairs(value)]) + "\n" for value in values)


# ---- values ------------------------------------------------------------------------------------


def stub_to_values(stub: PlannedStub, path: str = "") -> dict[str, Any]:
    """Return a stub as values for TOML or JSON; as `scenario_to_values` does.

    Args:
        path: of the stub in the scenario, for an error.
    """
    values: dict[str, Any] = {"service": stub.service}
    args = [arg for arg in stub.args if arg is not ANY_ARGS]
    if args:
        values["args"] = [_matcher(arg, f"{path}.args[{n}]") for n, arg in enumerate(args)]
    if len(args) < len(stub.args):
        values["more_args"] = True
    answers = [_answer(answer) for answer in stub.answers]
    if len(answers) == 1:
        values |= answers[0]
    elif answers:
        values["answers"] = answers
    if stub.optional:
        values["optional"] = True
    return values


def _answer(answer: StubAnswer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    *_, delay = answer.steps or [()]
    between = answer.steps[:-1] if isinstance(delay, float) else answer.steps
    if between:
        values["data"] = [
            {"delay": step} if isinstance(step, float) else [bytes_to_value(arg) for arg in step]
            for step in between
        ]
    if isinstance(delay, float):
        values["delay"] = delay
    row = [bytes_to_value(arg) for arg in answer.args]
    values["fail" if answer.kind == ERR else "reply"] = row[0] if len(row) == 1 else row
    if answer.closes:
        values["then_close"] = True
    if answer.times is not None:
        values["times"] = answer.times
    return values


def _matcher(matcher: Matcher, path: str) -> object:
    if matcher is ANY:
        return {"any": True}
    if isinstance(matcher, bytes):
        return bytes_to_value(matcher)
    if not isinstance(matcher, re.Pattern | LinearPattern):
        raise ScenarioError(
            path, f"{describe_argument(matcher)} is a predicate, which no scenario can hold"
        )
    return _pattern(matcher, path)


def _pattern(pattern: re.Pattern[Any] | LinearPattern, path: str) -> object:
    source = pattern.pattern
    if isinstance(source, bytes):
        # Base64 marks a pattern of bytes, whatever its characters.
        written = _with_flags(pattern, source.decode("latin-1"), path).encode("latin-1")
        return {"regex": bytes_to_base64(_checked(written, path))}
    return {"regex": _checked(_with_flags(pattern, source, path), path)}


def _checked(source: _Source, path: str) -> _Source:
    """Return a pattern that a scenario may hold."""
    try:
        LinearPattern.of(source)
    except PatternError as error:
        raise ScenarioError(
            path, f"{describe_argument(re.compile(source))}, which no scenario can hold: {error}"
        ) from error
    return source


def _with_flags(pattern: re.Pattern[Any] | LinearPattern, source: str, path: str) -> str:
    """Return the source of a pattern with its flags written at its start."""
    is_bytes = isinstance(pattern.pattern, bytes)

    def compiled(text: str) -> re.Pattern[Any]:
        return re.compile(text.encode("latin-1") if is_bytes else text)

    flags = pattern.flags & ~re.DEBUG
    try:
        missing = flags & ~compiled(source).flags
    except re.error:  # it is valid with its flags only
        missing = flags
    letters = "".join(letter for flag, letter in _FLAGS.items() if missing & flag)
    written = f"(?{letters}){source}" if letters else source
    try:
        same = compiled(written).flags == flags
    except re.error:  # it starts with flags already, and cannot have two such groups
        same = False
    if not same:
        raise ScenarioError(
            path, f"the flags of {describe_argument(pattern)} cannot be written at its start"
        )
    return written


def fault_to_values(fault: PlannedFault, path: str = "") -> dict[str, Any]:
    """Return a fault as values for TOML or JSON; as `stub_to_values` does."""
    options = {key: value[0] if _is_one(value) else value for key, value in fault.options.items()}
    for key in ("match", "reply_match"):
        if key in options:
            options[key] = _match(options[key], f"{path}.{key}")
    values = {"fault": fault.kind, **options}
    return values | {"optional": True} if fault.optional else values


def frame_match_to_value(match: object, path: str) -> object:
    """Return what a stub of a peer answers, as `read_peers` takes it."""
    return "" if match == b"" else _match(match, path)


def _match(match: object, path: str) -> object:
    """Return what a fault finds, as `read_fault` takes it."""
    if isinstance(match, bytes):
        text = match.decode("utf-8", "replace")
        is_text = text.isprintable() and text.encode() == match
        return text if is_text else {"hex": match.hex()}
    if isinstance(match, re.Pattern | LinearPattern):
        return _pattern(match, path)
    if not isinstance(match, str):
        raise ScenarioError(
            path, f"{describe_argument(match)} is a predicate, which no scenario can hold"
        )
    return match


def _is_one(value: object) -> bool:
    return isinstance(value, list) and len(value) == 1


# ---- TOML --------------------------------------------------------------------------------------


def _blocks(values: Mapping[str, Any]) -> Iterator[list[str]]:
    if "limits" in values:
        yield ["[limits]", *_pairs(values["limits"])]
    for name in ("stubs", "faults", "proxies", "peers"):
        for table in values.get(name, ()):
            yield [f"[[{name}]]", *_pairs(table)]
            for key in _OWN_TABLES:
                for inner in table.get(key, ()):
                    yield [f"[[{name}.{key}]]", *_pairs(inner)]


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for key, value in table.items():
        if key in _OWN_TABLES:
            continue
        if key == "answers":
            # One on each line: they come one after the other.
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
        pairs = [f"{_key(key)} = {_value(item)}" for key, item in value.items()]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    # Numbers and booleans are the same in JSON and TOML.
    return json.dumps(value)


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """Return a basic string: the same as in JSON, but TOML escapes DEL too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
