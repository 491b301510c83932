"""Rules 1 to 7 of units, one by one, and several faults on one unit, without any socket."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.exchanges.live_exchange import CLIENT, SERVER
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.target import MissReason
from esps_portal.framings.delimiters import lines
from esps_portal.framings.sizes import fixed
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from tests.proxy.conversations import BYTES, TURNS, WHOLE, hold, open_connection, place, proxy_state

# ---- the rules, one by one ---------------------------------------------------------------------


def test_an_exchange_begins_with_the_first_byte_of_the_client_after_one_of_the_server() -> None:
    assert hold(proxy_state(), TURNS, WHOLE).said() == [
        (0, b"", b"220 ready\r\n", True, []),
        (1, b"INCR n\r\n", b":1\r\n", True, []),
        (2, b"GET some key\r\n", b"$5\r\nvalue\r\n", True, []),
        (3, b"INCR n\r\n", b":2\r\n", True, []),
        (4, b"QUIT\r\n", b"", False, []),
    ]


def test_without_a_greeting_the_first_exchange_is_1() -> None:
    assert [said[0] for said in hold(proxy_state(), TURNS[1:], WHOLE).said()] == [1, 2, 3, 4]


def test_only_reply_0_strikes_what_the_server_says_first() -> None:
    state = proxy_state()
    any_reply = place(state, "patch", at=0, hex="00")
    greeting = place(state, "patch", at=1, hex="ff", reply=0)
    spoken = hold(state, TURNS, WHOLE)
    assert (any_reply.happened, greeting.happened) == (3, 1)
    assert spoken.came[CLIENT].startswith(b"2\xff0 ready\r\n\x001\r\n")


def test_request_and_reply_count_from_exchange_1_across_connections() -> None:
    state = proxy_state()
    third = place(state, "patch", at=0, hex="00", reply=3)
    of_incr = place(state, "patch", at=1, hex="ff", match=b"INCR", request=3)
    first, second = open_connection(state), open_connection(state)
    for spoken, reply in ((first, b"aa"), (second, b"bb"), (first, b"cc"), (second, b"dd")):
        spoken.say(CLIENT, b"INCR n" if reply != b"bb" else b"GET")
        spoken.say(SERVER, reply)
    assert first.came[CLIENT] == b"aa\x00c"
    assert second.came[CLIENT] == b"bbd\xff"
    assert (third.happened, of_incr.happened) == (1, 1)


def test_connection_counts_those_on_which_a_request_matches() -> None:
    state = proxy_state()
    fault = place(state, "patch", at=0, hex="00", connection=2, match=b"INCR")
    first, other, second = (open_connection(state) for _ in range(3))
    for spoken, request in ((first, b"INCR"), (other, b"GET"), (second, b"INCR"), (second, b"GET")):
        spoken.say(CLIENT, request)
        spoken.say(SERVER, b"1")
    assert (first.came[CLIENT], other.came[CLIENT], second.came[CLIENT]) == (b"1", b"1", b"\x001")
    assert fault.happened == 1


def test_a_fault_counts_units_whose_first_byte_is_read_after_it_was_placed() -> None:
    state = proxy_state()
    spoken = open_connection(state)
    spoken.say(CLIENT, b"one")
    spoken.say(SERVER, b"fir")
    fault = place(state, "patch", at=0, hex="00", reply=1)
    spoken.say(SERVER, b"st")
    spoken.say(CLIENT, b"two")
    spoken.say(SERVER, b"second")
    assert spoken.came[CLIENT] == b"first\x00econd"
    assert fault.happened == 1


def test_a_reply_is_decided_on_by_the_request_so_far() -> None:
    state = proxy_state()
    fault = place(state, "patch", at=0, hex="00", match=re.compile(rb"^a.*z$"))
    spoken = open_connection(state)
    for request in (b"a", b"b", b"z"):
        spoken.say(CLIENT, request)
    spoken.say(SERVER, b"1")
    spoken.say(CLIENT, b"abz and more")
    spoken.say(SERVER, b"2")
    assert spoken.came[CLIENT] == b"\x002"
    assert fault.happened == 1


@pytest.mark.parametrize(
    "pieces", [[b"say INCR n"], [b"say IN", b"CR n"], [b"say INC", b"R", b" n"]]
)
def test_before_strikes_at_the_last_byte_of_the_match(pieces: list[bytes]) -> None:
    state = proxy_state()
    place(state, "reset", when="before", match=b"INCR")
    spoken = open_connection(state)
    for piece in pieces:
        spoken.say(CLIENT, piece)
    assert spoken.came[SERVER] == b"say INC"
    assert spoken.happened == [(CLIENT, "reset", 0)]


def test_before_without_a_match_strikes_at_the_first_byte() -> None:
    state = proxy_state()
    place(state, "close", when="before", request=2)
    spoken = open_connection(state)
    for request in (b"one", b"two"):
        spoken.say(CLIENT, request[:1])
        spoken.say(CLIENT, request[1:])
        spoken.say(SERVER, b"1")
    assert spoken.came[SERVER] == b"one"
    assert spoken.happened == [(CLIENT, "close", 1)]


@pytest.mark.parametrize("options", [{"when": "before"}, {"to": "server"}])
@pytest.mark.parametrize("match", [re.compile(rb"x"), lambda _: True])
def test_what_needs_a_whole_request_needs_a_framing(options: dict[str, Any], match: Any) -> None:  # noqa: ANN401 - what a test may give
    with pytest.raises(FaultError, match="give framing="):
        place(proxy_state(), "close", match=match, **options)
    assert place(proxy_state(lines()), "close", match=match, **options).number == 1


@pytest.mark.parametrize("match", [re.compile(b"GET"), b"GET", lambda data: b"GET" in data])
def test_a_fault_of_datagrams_lets_every_stream_pass(match: Any) -> None:  # noqa: ANN401 - what a test may give
    """It may have a match that is decided at a datagram's end: a stream is not searched for it."""
    state = ProxyState(Upstream.parse("tcp+udp://127.0.0.1:1"))
    fault = place(state, "drop", match=match, when="before")
    spoken = hold(state, TURNS, WHOLE)
    assert spoken.came[SERVER] == b"".join(data for side, data in TURNS if side == CLIENT)
    assert fault.happened == 0
    assert fault.nearest is not None
    assert fault.nearest.reason is MissReason.TRANSPORT


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("slice", {}),
        ("slice", {"at": "before-lf"}),
        ("no-terminator", {}),
        ("coalesce", {"replies": 2}),
        ("corrupt", {"bytes": 2}),
    ],
)
def test_what_needs_the_end_of_a_unit_needs_a_framing(kind: str, options: dict[str, Any]) -> None:
    with pytest.raises(FaultError, match="framing="):
        place(proxy_state(), kind, transport="tcp", **options)


def test_a_framing_without_terminators_has_none_to_take() -> None:
    with pytest.raises(FaultError, match="terminators: framing 'fixed:4' has none"):
        place(proxy_state(fixed(4)), "no-terminator")
    state = proxy_state(lines(), fixed(4))
    with pytest.raises(FaultError, match="terminators: reply_framing 'fixed:4' has none"):
        place(state, "no-terminator")
    place(state, "no-terminator", to="server")  # what the client sends has terminators


def test_a_reply_shorter_than_the_offset_is_not_struck_and_the_reason_says_so() -> None:
    state = proxy_state()
    fault = place(state, "reset", match=b"GET", offset=12)
    hold(state, TURNS, BYTES)
    assert fault.happened == 0
    assert fault.nearest is not None
    assert fault.nearest.reason is MissReason.NO_CHANGE
    assert fault.nearest.reply_size == 11


def test_what_was_not_struck_gives_back_its_turn() -> None:
    state = proxy_state()
    fault = place(state, "reset", offset=9, times=1)
    spoken = hold(state, TURNS, BYTES)
    assert fault.happened == 1
    assert spoken.happened == [(CLIENT, "reset", 11 + 4 + 9)]


def test_a_turn_is_not_held_by_a_short_reply_on_a_connection_that_waits() -> None:
    """Which reply a fault strikes must not depend on when another client speaks again."""
    state = proxy_state()
    fault = place(state, "reset", offset=4, times=1)
    short, long = open_connection(state), open_connection(state)
    for spoken, reply in ((short, b"+OK"), (long, b"$5 value")):
        spoken.say(CLIENT, b"GET")
        spoken.say(SERVER, reply)
    assert long.happened == [(CLIENT, "reset", 4)]
    assert fault.happened == 1


@pytest.mark.parametrize("placed_first", [True, False])
def test_a_connection_is_a_unit_from_its_start_or_from_placing(*, placed_first: bool) -> None:
    state = proxy_state()
    if placed_first:
        place(state, "reset", unit="connection", offset=5)
    spoken = open_connection(state)
    spoken.say(SERVER, b"220")
    if not placed_first:
        place(state, "reset", unit="connection", offset=2)
    spoken.say(CLIENT, b"a")
    spoken.say(SERVER, b"12345")
    assert spoken.came[CLIENT][:5] == b"22012"
    assert spoken.happened == [(CLIENT, "reset", 5)]


def test_overlapped_is_what_the_client_says_while_a_reply_is_under_way() -> None:
    spoken = open_connection(proxy_state())
    spoken.say(CLIENT, b"one")
    spoken.say(SERVER, b"fir")
    spoken.say(CLIENT, b"two", is_early=True)
    spoken.say(SERVER, b"st second")
    assert [found.overlapped for found in spoken.exchanges] == [False, True]
    assert spoken.state.journal.connections[0].overlapped


# ---- several faults ----------------------------------------------------------------------------


def test_those_that_shape_compose_in_the_order_of_placing() -> None:
    seen = []
    for order in ((0, 1), (1, 0)):
        state = proxy_state()
        faults = [{"hex": "4141"}, {"hex": "42"}]
        for place_of in order:
            place(state, "patch", at=1, **faults[place_of])
        seen.append(hold(state, [(CLIENT, b"?"), (SERVER, b"....")], BYTES).came[CLIENT])
    assert seen == [b".BA.", b".AA."]


@pytest.mark.parametrize("framing", [None, lines("\n")])
@pytest.mark.parametrize(
    ("enders", "wins", "end"),
    [
        ([("close", {"offset": 3}), ("reset", {"offset": 1}), ("close", {"offset": 4})], 1, 1),
        ([("close", {"offset": 3}), ("reset", {"offset": 3})], 0, 3),
        ([("close", {}), ("reset", {})], 0, 0),
        ([("truncate", {"bytes": 4}), ("reset", {"offset": 2})], 1, 2),
        ([("truncate", {"bytes": 2}), ("reset", {"offset": 2})], 0, 2),
        ([("close", {"reply_match": b"34"}), ("reset", {"offset": 5})], 0, 3),
        ([("reset", {"offset": 5}), ("close", {"reply_match": b"34"})], 1, 3),
        ([("patch", {"at": 4, "hex": "00"}), ("reset", {"offset": 2})], 1, 2),
        ([("reset", {"offset": 9}), ("close", {"offset": 5})], 1, 5),
    ],
)
def test_the_first_that_ends_wins_and_the_others_give_back_their_turn(
    framing: Any,  # noqa: ANN401 - a framing or none
    enders: list[tuple[str, dict[str, Any]]],
    wins: int,
    end: int,
) -> None:
    for steps in (WHOLE, BYTES):
        state = proxy_state(framing)
        faults = [place(state, kind, times=1, **options) for kind, options in enders]
        spoken = hold(state, [(CLIENT, b"?\n"), (SERVER, b"123456\n")], steps)
        if framing is not None and any(fault.reply_match for fault in faults):
            end = 0  # a frame that matches is struck as a whole
        if framing is None or faults[0].kind != "patch":
            assert [fault.happened for fault in faults].index(1) == wins
        how = "close" if faults[wins].kind == "truncate" else faults[wins].kind
        assert spoken.happened[0] == (CLIENT, how, end)
        if framing is None:
            assert sum(fault.happened for fault in faults) == 1
            # The others can strike what comes next.
            assert [fault.claim() for fault in faults] == [f.happened == 0 for f in faults]


def test_a_shape_before_an_end_is_seen() -> None:
    state = proxy_state()
    place(state, "patch", at=0, hex="00")
    place(state, "close", offset=2)
    spoken = hold(state, [(CLIENT, b"?"), (SERVER, b"123456")], WHOLE)
    assert spoken.came[CLIENT] == b"\x002"


# ---- framings ----------------------------------------------------------------------------------


def test_pipelined_requests_find_their_replies_out_of_lockstep() -> None:
    state = proxy_state(lines(), fixed(2))
    fault = place(state, "patch", at=0, hex="00", match=re.compile(rb"^b"))
    spoken = open_connection(state)
    spoken.say(CLIENT, b"a1\nb2\nc")
    spoken.say(SERVER, b"1")
    spoken.say(CLIENT, b"3\n")
    spoken.say(SERVER, b"122")
    spoken.say(SERVER, b"33")
    spoken.end()
    assert spoken.came == {CLIENT: b"11\x00233", SERVER: b"a1\nb2\nc3\n"}
    assert [said[1:3] for said in spoken.said()] == [
        (b"a1\n", b"11"),
        (b"b2\n", b"22"),
        (b"c3\n", b"33"),
    ]
    assert fault.happened == 1


def test_a_short_request_frame_gives_back_its_turn_at_once() -> None:
    state = proxy_state(lines())
    fault = place(state, "reset", to="server", offset=4, times=1)
    spoken = open_connection(state)
    spoken.say(CLIENT, b"a\nlonger\n")
    assert spoken.happened == [(SERVER, "reset", 6)]
    assert fault.happened == 1


def test_a_frame_that_has_passed_in_part_passes_to_its_end() -> None:
    state = proxy_state(lines())
    spoken = open_connection(state)
    spoken.say(CLIENT, b"a\n")
    spoken.say(SERVER, b"fir")
    fault = place(state, "patch", at=0, hex="00")
    spoken.say(SERVER, b"st\nsec")
    assert spoken.came[CLIENT] == b"first\n"  # the next one waits until it is whole
    spoken.say(SERVER, b"ond\n")
    assert spoken.came[CLIENT] == b"first\n\x00econd\n"
    assert fault.happened == 1


def test_a_frame_that_waits_passes_once_its_fault_is_removed() -> None:
    state = proxy_state(lines())
    spoken = open_connection(state)
    fault = place(state, "patch", at=0, hex="00")
    spoken.say(CLIENT, b"a\n")
    spoken.say(SERVER, b"fir")
    assert spoken.came[CLIENT] == b""
    state.faults.remove(fault)
    spoken.say(SERVER, b"s")
    assert spoken.came[CLIENT] == b"firs"
    spoken.say(SERVER, b"t\n")
    assert spoken.came[CLIENT] == b"first\n"


def test_what_is_no_frame_passes_as_it_is_and_is_noted() -> None:
    state = proxy_state(lines())
    place(state, "patch", at=0, hex="00")
    spoken = open_connection(state)
    spoken.say(CLIENT, b"a\nunfinished")
    spoken.end()
    assert spoken.came[SERVER] == b"a\nunfinished"
    assert "unfinished" in state.leftovers[0]


@pytest.mark.parametrize("framing", [None, lines("\n")])
def test_a_removed_fault_strikes_nothing_more(framing: Any) -> None:  # noqa: ANN401 - a framing or none
    state = proxy_state(framing)
    spoken = open_connection(state)
    faults = [
        place(state, "reset", offset=4),
        place(state, "reset", unit="connection", offset=5),
        place(state, "reset", when="before", match=b"z"),
    ]
    spoken.say(CLIENT, b"a\n")
    spoken.say(SERVER, b"1\n")
    for fault in faults:
        state.faults.remove(fault)
    spoken.say(CLIENT, b"z\n")
    spoken.say(SERVER, b"123456789\n")
    assert spoken.came == {CLIENT: b"1\n123456789\n", SERVER: b"a\nz\n"}
    assert not spoken.happened
