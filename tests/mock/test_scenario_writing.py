"""A scenario that is written and read again is the same."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from esps_portal.faults.fault import Fault
from esps_portal.faults.matching import Matchable
from esps_portal.framings.delimiters import lines
from esps_portal.framings.sizes import length_prefixed
from esps_portal.journal.values import ScenarioError, bytes_from_value, bytes_to_value
from esps_portal.mock.matching import ANY, ANY_ARGS
from esps_portal.mock.planned_fault import PlannedFault
from esps_portal.mock.planned_proxy import PlannedProxy
from esps_portal.mock.scenario import PlannedStub, Scenario
from esps_portal.mock.scenario_reading import (
    read_scenario_toml,
)
from esps_portal.mock.scenario_schema import scenario_schema
from esps_portal.mock.scenario_writing import scenario_to_toml, scenario_to_values
from esps_portal.mock.stubs import Stub, StubAnswer
from esps_portal.patterns.linear import LinearPattern
from esps_portal.protocol.messages import ERR, OK
from tests.mock.scenarios import EVERY_KEY, PEERS, PROXIES, portal


def test_a_dump_is_the_scenario_that_was_read() -> None:
    scripted = portal(max_in_flight=8, idle=30)
    read_scenario_toml(EVERY_KEY).apply(scripted)
    assert scenario_to_toml(Scenario.of(scripted)) == EVERY_KEY


def test_proxies_are_written_as_they_were_read() -> None:
    scenario = read_scenario_toml(PROXIES)
    assert scenario_to_toml(scenario) == PROXIES
    first, second = scenario.proxies
    assert (first.name, first.upstream) == ("cache-1", "tcp://127.0.0.1:6379")
    assert (first.framing, first.reply_framing) == (
        lines("\r\n"),
        length_prefixed(2, order="little"),
    )
    assert [fault.kind for fault in first.faults] == ["reset", "no-terminator"]
    assert (second.framing, second.faults) == (None, ())


def test_a_portal_takes_its_own_part_of_a_file() -> None:
    scripted = portal(max_in_flight=8, idle=30)
    peers = PEERS.replace('"dns"', '"names"')  # as one of the proxies is called
    read_scenario_toml(EVERY_KEY + PROXIES + peers).apply(scripted)
    assert scenario_to_toml(Scenario.of(scripted)) == EVERY_KEY


def test_a_framing_of_ones_own_cannot_be_written() -> None:
    class Own:
        def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
            return [], buffer

        def join(self, frame: bytes) -> bytes:
            return frame

        def __str__(self) -> str:
            return "lines"

    scenario = Scenario(proxies=(PlannedProxy("a", "tcp://a:1", framing=Own()),))
    with pytest.raises(ScenarioError, match=r"^proxies\[0\]\.framing: .* is an object, which no"):
        scenario_to_values(scenario)


def test_an_empty_scenario_is_an_empty_file() -> None:
    assert scenario_to_toml(Scenario.of(portal())) == ""
    assert read_scenario_toml("") == Scenario()


@pytest.mark.parametrize(
    "pattern",
    [
        re.compile("a", re.IGNORECASE | re.DOTALL),
        re.compile("(?i)a"),
        re.compile("(?i)a", re.DOTALL),
        re.compile("(?x) a # b", re.VERBOSE),
        re.compile("a # (", re.VERBOSE),
        re.compile(rb"\xff+", re.MULTILINE),
        re.compile("\\w", re.ASCII),
    ],
)
def test_a_pattern_keeps_its_flags(pattern: re.Pattern[Any]) -> None:
    scripted = portal()
    scripted.script.stubs.place(Stub("a", (pattern,), max_line=8192))
    (stub,) = read_scenario_toml(scenario_to_toml(Scenario.of(scripted))).stubs
    (again,) = stub.args
    assert isinstance(again, LinearPattern)
    assert again.flags == pattern.flags
    assert again.pattern.endswith(pattern.pattern)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (re.compile("(?=a)b"), "ASSERT"),
        (re.compile(b"a", re.LOCALE), "flags"),
        (re.compile("a" * 1001), "longer than 1000 characters"),
    ],
)
def test_a_pattern_that_could_not_be_read_is_not_written(
    pattern: re.Pattern[Any], why: str
) -> None:
    scripted = portal()
    scripted.script.stubs.place(Stub("a", (pattern,), max_line=8192))
    with pytest.raises(ScenarioError, match=f"which no scenario can hold: .*{why}"):
        scenario_to_toml(Scenario.of(scripted))


@pytest.mark.parametrize(
    ("match", "written"),
    [
        ("INCR", "INCR"),
        (b"INCR", "INCR"),
        ("a\nb", "a\nb"),
        (b"a\nb", {"hex": "610a62"}),
        (b"\xff\xfe", {"hex": "fffe"}),
        (re.compile("^a", re.IGNORECASE), {"regex": "(?i)^a"}),
        (re.compile(b"^a"), {"regex": {"b64": "XmE="}}),
    ],
)
@pytest.mark.parametrize("key", ["match", "reply_match"])
def test_what_a_fault_finds(match: Matchable, written: object, key: str) -> None:
    scripted = portal()
    placed = scripted.script.faults.place(Fault.create("reset", **{key: match}))
    scenario = Scenario.of(scripted)
    assert scenario_to_values(scenario)["faults"] == [{"fault": "reset", key: written}]
    (again,) = read_scenario_toml(scenario_to_toml(scenario)).faults
    found, given = getattr(again.make(), key), getattr(placed, key)
    for said in (b"an INCR", b"A", b"a\nb", b"\xff\xfe", b"b"):
        assert found.matches(said) == given.matches(said)


def test_a_predicate_of_a_fault_cannot_be_written() -> None:
    scripted = portal()
    scripted.script.faults.place(Fault.create("reset", match=bytes.isdigit))
    with pytest.raises(ScenarioError, match=re.escape("faults[0].match: ")) as caught:
        scenario_to_toml(Scenario.of(scripted))
    assert "is a predicate, which no scenario can hold" in str(caught.value)


def test_a_predicate_cannot_be_written() -> None:
    scripted = portal()
    scripted.script.stubs.place(Stub("a", ("x", bytes.isdigit), max_line=8192))
    with pytest.raises(ScenarioError, match=re.escape("stubs[0].args[1]: ")):
        scenario_to_toml(Scenario.of(scripted))


names = st.sampled_from(["a", "price", "x-1.y_z"])
raw = st.binary(max_size=8) | st.text(max_size=8).map(str.encode)
rows = st.lists(raw, max_size=3).map(tuple)
seconds = st.floats(0, 1e9)
answers = st.builds(
    StubAnswer,
    steps=st.lists(seconds | rows, max_size=3),
    kind=st.just(OK),
    args=rows,
    times=st.none() | st.integers(1, 9),
    closes=st.booleans(),
    done=st.just(value=True),
) | st.builds(
    StubAnswer,
    kind=st.just(ERR),
    args=st.builds(lambda code, text: (code.encode(), *text), names, rows),
    done=st.just(value=True),
)
matchers = raw | st.just(ANY) | st.text("abc.\x7f\U0001f600", max_size=5).map(LinearPattern.of)


scenarios = st.builds(
    Scenario,
    stubs=st.lists(
        st.builds(
            PlannedStub,
            service=names,
            args=st.builds(
                lambda row, rest: (*row, *rest),
                st.lists(matchers, max_size=3),
                st.sampled_from([(), (ANY_ARGS,)]),
            ),
            answers=st.lists(answers, max_size=3).map(tuple),
            optional=st.booleans(),
        ),
        max_size=3,
        unique_by=lambda stub: stub.service,  # a portal returns them grouped by service
    ).map(tuple),
    faults=st.lists(
        st.builds(
            PlannedFault,
            kind=st.sampled_from(["reset", "corrupt"]),
            options=st.fixed_dictionaries(
                {},
                optional={
                    "service": names,
                    "request": st.integers(1, 9) | st.lists(st.integers(1, 9), min_size=1),
                    "chance": st.floats(0, 1, exclude_min=True),
                },
            ),
            optional=st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
)
PORTAL = portal()


@given(scenarios)
def test_any_portal_is_dumped_and_read_as_it_was(scenario: Scenario) -> None:
    PORTAL.script.clear()
    scenario.apply(PORTAL)
    before = Scenario.of(PORTAL)
    plain, toml = scenario_to_values(before), scenario_to_toml(before)
    Draft202012Validator(scenario_schema()).validate(plain)
    assert tomllib.loads(toml) == plain
    assert json.loads(json.dumps(plain)) == plain
    stubs, faults = PORTAL.script.stubs.all, PORTAL.script.faults.in_force
    PORTAL.script.clear()
    read_scenario_toml(toml).apply(PORTAL)
    for ours, theirs in zip(stubs, PORTAL.script.stubs.all, strict=True):
        assert (ours.service, ours.args_matcher) == (theirs.service, theirs.args_matcher)
        assert ours.is_optional == theirs.is_optional
        assert [_values(answer) for answer in ours.answers] == [_values(a) for a in theirs.answers]
    for placed, again in zip(faults, PORTAL.script.faults.in_force, strict=True):
        assert (str(placed), placed.is_optional) == (str(again), again.is_optional)


def _values(answer: StubAnswer) -> tuple[object, ...]:
    return answer.steps, answer.kind, answer.args, answer.times, answer.closes


@given(st.binary())
def test_bytes_survive(data: bytes) -> None:
    assert bytes_from_value(json.loads(json.dumps(bytes_to_value(data)))) == data


@given(st.text())
def test_any_text_survives_toml(text: str) -> None:
    scripted = portal()
    scripted.script.stubs.place(Stub("a", (text,), max_line=1 << 20))
    (stub,) = tomllib.loads(scenario_to_toml(Scenario.of(scripted)))["stubs"]
    assert stub["args"] == [text]
