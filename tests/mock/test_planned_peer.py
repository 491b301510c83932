"""Peers of a scenario: what is written is what was read, and an error names its key."""

from __future__ import annotations

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.framings.delimiters import lines
from esps_portal.framings.framing import Framing
from esps_portal.framings.parse import parse_framing
from esps_portal.framings.sizes import fixed
from esps_portal.framings.transport_ends import datagrams
from esps_portal.journal.values import ScenarioError, read_json
from esps_portal.mock.frame_stubs import FrameAnswer
from esps_portal.mock.planned_fault import PlannedFault
from esps_portal.mock.planned_peer import PlannedFrameStub, PlannedPeer
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario, read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_to_toml, scenario_to_values
from esps_portal.patterns.linear import LinearPattern
from esps_portal.peer.planned import make_state, plan_of
from esps_portal.peer.state import PeerState
from tests.cases import cases
from tests.mock.scenarios import PEERS


def test_peers_are_written_as_they_were_read() -> None:
    scenario = read_scenario_toml(PEERS)
    assert scenario_to_toml(scenario) == PEERS
    mail, dns, udp = scenario.peers
    assert (mail.framing, mail.greeting, mail.udp) == (lines("\r\n"), (b"220 ready",), False)
    assert [stub.match for stub in mail.stubs[1:]] == [b"RCPT", b"\0\xff", b""]
    assert [len(stub.answers) for stub in mail.stubs] == [1, 4, 1, 0]
    assert dns.stubs[0].answers[0].echoes == ((0, 2),)
    assert udp == PlannedPeer("udp", datagrams())


def test_a_running_peer_is_written_as_it_was_planned() -> None:
    scenario = read_scenario_toml(PEERS)
    plans = tuple(plan_of(make_state(plan)[0], plan.name) for plan in scenario.peers)
    assert scenario_to_toml(Scenario(peers=plans)) == PEERS


frames = st.binary(max_size=8)
echoes = st.tuples(st.integers(0, 3), st.integers(1, 4)).map(lambda e: (e[0], e[0] + e[1]))
answers = st.builds(
    FrameAnswer,
    frames=st.lists(frames, max_size=3).map(tuple),
    echoes=st.lists(echoes, max_size=2).map(tuple),
    delay=st.sampled_from([0.0, 0.5]),
    end=st.sampled_from(["", "close", "reset"]),
    times=st.none() | st.integers(1, 9),
    done=st.just(value=True),
) | st.builds(
    FrameAnswer,
    frames=frames.map(lambda frame: (frame,)),
    is_raw=st.just(value=True),
    done=st.just(value=True),
)
patterns = st.sampled_from(
    [LinearPattern.of(source) for source in ("a", "(?i)^ehlo", b"\xff+", b"(?s)a.b")]
)
stubs = st.builds(
    PlannedFrameStub,
    match=frames | patterns,
    answers=st.lists(answers, max_size=3).map(tuple),
    optional=st.booleans(),
)
framings: st.SearchStrategy[Framing] = st.sampled_from(
    ["lines:crlf", "delimited:00", "length-prefixed:2,at=4,order=little", "datagrams"]
).map(parse_framing)
peers = st.builds(
    PlannedPeer,
    name=st.just("a"),
    framing=framings,
    greeting=st.lists(frames, max_size=2).map(tuple),
    udp=st.booleans(),
    stubs=st.lists(stubs, max_size=3).map(tuple),
    faults=st.lists(
        st.builds(PlannedFault, st.just("reset"), st.just({"match": "a", "times": 1})), max_size=1
    ).map(tuple),
)


@given(peers)
def test_any_peer_is_read_as_it_was_written(peer: PlannedPeer) -> None:
    scenario = Scenario(peers=(peer,))
    assert read_scenario_toml(scenario_to_toml(scenario)) == scenario
    assert read_scenario(read_json(json.dumps(scenario_to_values(scenario)))) == scenario


def test_a_predicate_cannot_be_written() -> None:
    stub = PlannedFrameStub(bool)
    with pytest.raises(ScenarioError, match=r"^peers\[0\]\.stubs\[0\]\.match: <bool>"):
        scenario_to_values(Scenario(peers=(PlannedPeer("a", lines(), stubs=(stub,)),)))


PEER = "name = 'a', framing = 'lines'"
STUB = "match = 'x'"


@cases(
    ("table", "says"),
    [
        ("framing = 'lines'", "peers[0].name: this key is required"),
        ("name = 'a'", "peers[0].framing: this key is required"),
        ("name = '1', framing = 'lines'", "peers[0].name: must be a name (a letter,"),
        ("name = 'a', framing = 'line'", "peers[0].framing: unknown framing 'line'; did you"),
        (f"{PEER}, upstream = 'x'", "peers[0].upstream: unknown key; choose from name, framing,"),
        (f"{PEER}, greeting = 1", "peers[0].greeting: must be text, {hex"),
        (f"{PEER}, greeting = ['a', 1]", "peers[0].greeting[1]: must be text"),
        (f"{PEER}, udp = 1", "peers[0].udp: must be true or false, got 1"),
        (f"{PEER}, stubs = [{{}}]", "peers[0].stubs[0].match: this key is required"),
        (f"{PEER}, stubs = [{{match = 1}}]", "peers[0].stubs[0].match: must be text, {regex"),
        (f"{PEER}, stubs = [{{match = {{regex = '('}}}}]", "peers[0].stubs[0].match.regex: not"),
        (f"{PEER}, stubs = [{{match = {{hex = '0'}}}}]", "peers[0].stubs[0].match.hex: must be"),
        (f"{PEER}, stubs = [{{{STUB}, replies = 1}}]", "peers[0].stubs[0].replies: unknown key"),
        (f"{PEER}, stubs = [{{{STUB}, reply = 1}}]", "peers[0].stubs[0].reply: must be text"),
        (
            f"{PEER}, stubs = [{{{STUB}, reply = {{hex = '0g'}}}}]",
            "peers[0].stubs[0].reply: must be text, {hex",
        ),
        (
            f"{PEER}, stubs = [{{{STUB}, reply = 'a', raw = 'b'}}]",
            "peers[0].stubs[0].raw: an answer has either reply or raw, not both",
        ),
        (
            f"{PEER}, stubs = [{{{STUB}, then_close = true, then_reset = true}}]",
            "peers[0].stubs[0].then_reset: an answer has either then_close or then_reset",
        ),
        (
            f"{PEER}, stubs = [{{{STUB}, reply = 'a', answers = []}}]",
            "peers[0].stubs[0].reply: move it into one of the answers",
        ),
        (
            f"{PEER}, stubs = [{{{STUB}, reply = 'a', echo = [2, 1]}}]",
            "peers[0].stubs[0].echo[0]: must be [from, to]",
        ),
        (
            f"{PEER}, stubs = [{{{STUB}, answers = [{{times = 0}}]}}]",
            "peers[0].stubs[0].answers[0].times: must be a positive integer",
        ),
        (f"{PEER}, faults = [{{fault = 'x'}}]", "peers[0].faults[0].fault: unknown fault 'x'"),
        (f"{PEER}}}, {{{PEER}", "peers[1].name: 'a' is used before: both would be ESPS_PORTAL_A_"),
    ],
)
def test_an_error_names_its_key(table: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read_scenario_toml(f"peers = [{{{table}}}]")
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_a_proxy_and_a_peer_have_different_names() -> None:
    with pytest.raises(ScenarioError, match=r"^peers\[0\]\.name: 'a' is used before"):
        read_scenario_toml(f"proxies = [{{name='a', upstream='udp://a:1'}}]\npeers = [{{{PEER}}}]")


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (PlannedPeer("a"), "p.framing: this key is required"),
        (PlannedPeer("a", fixed(2), (b"abc",)), "p.greeting: fixed:2: a frame has 2 bytes, got 3"),
        (PlannedPeer("a", datagrams(), (b"abc",)), "p.greeting: a greeting is for connections"),
        (
            PlannedPeer("a", fixed(2), stubs=(PlannedFrameStub(b"ab", (FrameAnswer((b"x",)),)),)),
            "p.stubs[0].reply: fixed:2: a frame has 2 bytes, got 1",
        ),
        (
            PlannedPeer("a", fixed(2), stubs=(PlannedFrameStub(b"a", ()),)),
            "p.stubs[0].match: no frame can equal 'a': fixed:2: a frame has 2 bytes, got 1",
        ),
        (
            PlannedPeer(
                "a",
                lines(),
                stubs=(PlannedFrameStub(b"", (FrameAnswer((b"x",), echoes=((0, 2),)),) * 2),),
            ),
            "p.stubs[0].answers[0].echo: echo ends at 2, and a frame of the reply has 1 bytes",
        ),
        (
            PlannedPeer("a", lines(), faults=(PlannedFault("drop"),)),
            "p.faults[0]: fault 'drop' works over UDP only; this peer is served over TCP",
        ),
        (
            PlannedPeer("a", fixed(2), faults=(PlannedFault("reset", {"to": "server"}),)),
            "p.faults[0].to: to='server' is for a proxy: no server is behind this peer",
        ),
    ],
)
def test_what_makes_no_sense_at_a_peer(plan: PlannedPeer, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        make_state(plan, "p")
    assert str(caught.value).startswith(says)


def test_a_plan_is_placed_as_a_whole_or_not_at_all() -> None:
    state = PeerState(lines())
    wrong = PlannedPeer("a", stubs=(PlannedFrameStub(b"x"),), faults=(PlannedFault("drop"),))
    with pytest.raises(ScenarioError):
        make_state(attrs.evolve(wrong, framing=lines()))
    assert state.script.stubs == []
