"""What a fault never struck since it had begun before, or came before any request: the report."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.exchanges.live_exchange import CLIENT, SERVER
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.testing import lines
from tests.proxy.conversations import Spoken, open_connection, place, proxy_state

_BEGUN = "its reply had begun before the fault was placed"
_NO_FRAMES = (
    ": without framing one reply is all that the server sends until the client sends, and faults"
    " strike only what begins later; give framing=, or place it earlier"
)


def subscribed() -> Spoken:
    """A connection on which the server goes on to speak after it has answered a request."""
    spoken = open_connection(proxy_state())
    spoken.say(SERVER, b"INFO\r\n")
    spoken.say(CLIENT, b"SUB news\r\n")
    spoken.say(SERVER, b"+OK\r\n")
    spoken.state.faults.live.add(spoken.units.explain)
    return spoken


@pytest.mark.parametrize("placed", ["reply_match", "nothing", "match", "request"])
def test_a_message_that_nobody_asked_for_is_part_of_a_reply_that_had_begun(placed: str) -> None:
    selectors: dict[str, dict[str, Any]] = {
        "reply_match": {"reply_match": b"MSG"},
        "nothing": {},
        "match": {"match": b"SUB"},
        "request": {"request": 1},
    }
    spoken = subscribed()
    fault = place(spoken.state, "close", **selectors[placed])
    spoken.say(SERVER, b"MSG news 1\r\n")
    why = why_never_struck(fault, spoken.state.faults)
    assert why == rf"selected 0 times; nearest: SUB news\r\n (tcp #1): {_BEGUN}{_NO_FRAMES}"
    spoken.say(CLIENT, b"SUB more\r\n")
    spoken.say(SERVER, b"+OK\r\n")
    why = why_never_struck(fault, spoken.state.faults)
    if placed == "reply_match":
        assert why.endswith(rf"SUB news\r\n (tcp #1): {_BEGUN}{_NO_FRAMES}")
    else:
        assert fault.happened == 1


@pytest.mark.parametrize(
    ("pushed", "nearest"),
    [
        (b"MSG news 1\r\n", rf"SUB news\r\n (tcp #1): {_BEGUN}{_NO_FRAMES}"),
        (b"-ERR\r\n", r"PUB news 1\r\n (tcp #2): its reply does not match 'MSG'"),
    ],
)
@pytest.mark.parametrize("is_over", [False, True])
def test_a_message_that_it_would_have_found_is_nearer_than_another_reply(
    pushed: bytes, nearest: str, *, is_over: bool
) -> None:
    spoken = subscribed()
    spoken.say(SERVER, b"MSG news 0\r\n")
    fault = place(spoken.state, "close", reply_match=b"MSG")
    publisher = open_connection(spoken.state)
    spoken.state.faults.live.add(publisher.units.explain)
    spoken.say(SERVER, b"PING\r\n")
    spoken.say(SERVER, pushed)
    publisher.say(CLIENT, b"PUB news 1\r\n")
    publisher.say(SERVER, b"+OK\r\n")
    if is_over:
        publisher.units.closed(9.0, gracefully=True)
        spoken.units.closed(9.0, gracefully=True)
    why = why_never_struck(fault, spoken.state.faults)
    assert why == f"selected 1 time; nearest: {nearest}"


def test_placed_earlier_it_finds_the_message_in_the_reply() -> None:
    spoken = open_connection(proxy_state())
    fault = place(spoken.state, "close", reply_match=b"MSG")
    spoken.say(CLIENT, b"SUB news\r\n")
    spoken.say(SERVER, b"+OK\r\n")
    spoken.say(SERVER, b"MSG news 1\r\n")
    assert fault.happened == 1


@pytest.mark.parametrize(
    ("kind", "options", "why"),
    [
        ("truncate", {"bytes": 4, "reply_match": b"lo"}, "reply_match finds, here byte 7; give"),
        ("truncate", {"bytes": 4, "reply_match": b"hel", "offset": 3}, "by its offset; give"),
        ("slice", {"at": 9, "match": b"UB", "to": "server"}, "that match finds, here byte 3; give"),
    ],
)
def test_what_it_had_to_find_left_too_little_to_change(
    kind: str, options: dict[str, Any], why: str
) -> None:
    spoken = open_connection(proxy_state())
    fault = place(spoken.state, kind, **options)
    spoken.say(CLIENT, b"SUB news\r\n")
    spoken.say(SERVER, b"1 hello\r\n")
    spoken.end()
    text = why_never_struck(fault, spoken.state.faults)
    assert "bytes long: without framing it acts from the last byte on that" in text
    assert why in text


def test_a_request_that_had_begun() -> None:
    spoken = open_connection(proxy_state())
    spoken.say(CLIENT, b"one\r\n")
    fault = place(spoken.state, "reset", when="before")
    spoken.say(CLIENT, b"two\r\n")
    why = why_never_struck(fault, spoken.state.faults)
    assert "its request had begun before the fault was placed: without framing one request" in why
    assert "all that the client sends until the server sends" in why


def test_the_rest_of_a_frame_that_has_passed_in_part() -> None:
    spoken = open_connection(proxy_state(lines("\r\n"), lines("\r\n")))
    spoken.say(CLIENT, b"GET\r\n")
    spoken.say(SERVER, b"+O")
    fault = place(spoken.state, "reset")
    spoken.say(SERVER, b"K\r\n")
    why = why_never_struck(fault, spoken.state.faults)
    assert why == rf"selected 0 times; nearest: GET\r\n (tcp #1): {_BEGUN}"


@pytest.mark.parametrize("framing", [None, lines("\r\n")])
@pytest.mark.parametrize("goes_on", [False, True])
def test_what_the_server_says_first_is_for_reply_0(framing: Any, *, goes_on: bool) -> None:  # noqa: ANN401 - a framing or none
    spoken = open_connection(proxy_state(framing, framing))
    if goes_on:
        spoken.say(SERVER, b"220-hello\r\n")
    fault = place(spoken.state, "close", reply_match=b"ready")
    spoken.say(SERVER, b"220 ready\r\n")
    assert why_never_struck(fault, spoken.state.faults) == (
        "selected 0 times; no reply came after it was placed;"
        " only reply=0 strikes what the server sends first"
    )


def test_what_could_not_be_meant_is_not_the_nearest() -> None:
    spoken = subscribed()
    greeting = place(spoken.state, "close", reply=0)
    other = place(spoken.state, "close", match=b"PUB")
    request = place(spoken.state, "close", when="before")
    spoken.say(SERVER, b"MSG news 1\r\n")
    faults = spoken.state.faults
    assert "here the client sent bytes before it did" in why_never_struck(greeting, faults)
    assert "does not match 'PUB'" in why_never_struck(other, faults)
    assert why_never_struck(request, faults).endswith("no request came after it was placed")
