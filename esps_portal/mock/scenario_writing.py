"""Writing a scenario as values, and as TOML for a person to read and edit."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from esps_portal.journal.values import BARE_KEY, ScenarioError, bytes_to_value
from esps_portal.mock.answer_values import answers_to_values
from esps_portal.mock.match_values import pattern_to_value
from esps_portal.mock.matching import ANY, ANY_ARGS, Matcher, describe_argument
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values
from esps_portal.mock.planned_peer import peer_to_values
from esps_portal.mock.planned_proxy import proxy_to_values
from esps_portal.mock.scenario import PlannedStub, Scenario
from esps_portal.mock.stubs import StubAnswer
from esps_portal.patterns.linear import LinearPattern
from esps_portal.protocol.messages import ERR
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Lists of a proxy or a peer, of which each has a table of its own.
_OWN_TABLES = ("stubs", "faults")


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
            proxy_to_values(proxy, f"proxies[{n}]") for n, proxy in enumerate(scenario.proxies)
        ],
        "peers": [peer_to_values(peer, f"peers[{n}]") for n, peer in enumerate(scenario.peers)],
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
    values |= answers_to_values([_answer(answer) for answer in stub.answers])
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
    return pattern_to_value(matcher, path)


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
