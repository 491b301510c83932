"""CANCEL, QUIT and the other ways in which calls and connections end."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.messages import Notice, Reply, Request
from esps_portal.protocol.server_connection import Cancel, Quit, ServerConnection
from esps_portal.protocol.states import CallState, State
from tests.protocol.memory_server import LIMITS, MemoryServer, server_after, without_text
from tests.protocol.strategies import noise

# -- CANCEL


def cancelling() -> tuple[MemoryServer, Cancel]:
    """Return a server on which ``2 CANCEL 1`` waits for its call, and ``3 PING`` with it."""
    server = MemoryServer()
    server.connection.receive(b"1 CALL a\n2 CANCEL 1\n3 PING\n")
    server.read_lines()
    assert server.cancel is not None
    return server, server.cancel


def test_cancel_ends_the_call_at_once_and_is_answered_after_it() -> None:
    # ESPS-VERB-18
    server, cancel = cancelling()
    assert server.lines == [b"1 ERR cancelled"]
    assert cancel.call.state is CallState.CANCELLED
    server.end_cancelled()
    assert server.lines == [b"1 ERR cancelled", b"2 OK", b"3 OK"]


def test_a_cancelled_call_sends_nothing_more() -> None:
    # ESPS-VERB-19
    server, cancel = cancelling()
    assert server.connection.finish(cancel.call) is False


def test_a_cancelled_call_counts_until_it_has_ended() -> None:
    # ESPS-VERB-20
    server, cancel = cancelling()
    assert server.connection.running == 1
    server.connection.finish(cancel.call)
    assert server.connection.running == 0


@pytest.mark.parametrize("target", [b"1", b"2", b"9"])
def test_only_a_running_call_can_be_cancelled(target: bytes) -> None:
    # ESPS-VERB-22: 1 has its final line, 2 is a CANCEL itself, 9 never was
    server, _ = cancelling()
    answer = server.connection.read(b"4 CANCEL " + target)
    assert isinstance(answer, Reply)
    assert without_text(answer) == b"4 ERR not-in-flight"


def test_the_tag_of_the_call_is_free_and_that_of_the_cancel_is_not() -> None:
    server, cancel = cancelling()
    connection = server.connection
    assert connection.read(b"2 PING") == Notice(b"ERR", (b"tag-in-use", b"2"))
    assert connection.read(b"1 CALL b") == Request(b"1", b"CALL", (b"b",))
    again = connection.begin(b"1")
    assert connection.finish(cancel.call) is False
    assert connection.cancelled(cancel).encode() == b"2 OK\n"
    assert connection.read(b"1 PING") == Notice(b"ERR", (b"tag-in-use", b"1"))
    assert connection.finish(again) is True
    assert connection.read(b"2 PING") == Request(b"2", b"PING")


# -- QUIT and FIN


def test_quit_is_answered_last() -> None:
    # ESPS-END-1, ESPS-END-2
    server = server_after([b"1 CALL a\n2 QUIT\n3 PING\n1 PING\nnonsense\n\n@\n"])
    assert server.state is State.QUITTING
    assert server.lines == []
    server.finish(server.calls[b"1"])
    server.send(server.connection.drained())
    assert server.lines == [b"1 OK", b"2 OK"]


def test_quit_is_carried_out_by_the_caller() -> None:
    assert ServerConnection(LIMITS).read(b"1 QUIT") == Quit(b"1")


def test_quit_with_arguments_ends_nothing() -> None:
    # ESPS-VERB-24
    server = server_after([b"0 PING\n1 QUIT now\n2 PING\n"])
    assert server.lines[-1] == b"2 OK"
    assert server.state is State.OPEN


def test_after_a_fin_calls_end_and_fragments_do_not_begin() -> None:
    # ESPS-END-3, ESPS-END-4
    server = server_after([b"1 CALL a\n2 CALL b"])
    server.connection.end_of_input()
    server.finish(server.calls[b"1"])
    assert server.connection.drained() is None
    assert server.lines == [b"1 OK"]
    assert len(server.executed) == 1


def test_a_fin_after_quit_changes_nothing() -> None:
    server = server_after([b"1 QUIT\n"])
    server.connection.end_of_input()
    server.send(server.connection.drained())
    assert server.lines == [b"1 OK"]


# -- the server closes, or nothing comes


def test_the_server_sends_bye_and_refuses_requests() -> None:
    # ESPS-END-5, ESPS-END-6, ESPS-END-7
    server = server_after([b"1 CALL a\n2 CALL b\n"])
    server.send(server.connection.shut_down())
    server.feed(b"3 PING\n1 PING\n")
    server.finish(server.calls[b"1"])
    server.end_drain()
    assert server.connection.finish(server.calls[b"2"]) is False
    assert server.connection.drained() is None
    assert server.lines == [
        b"* BYE closing",
        b"3 ERR closing",
        b"* ERR tag-in-use 1",
        b"1 OK",
        b"2 ERR closing",
    ]


def test_a_cancel_that_still_waits_is_refused_too_and_its_tag_is_free() -> None:
    # ESPS-END-7
    server, _ = cancelling()
    server.send(server.connection.shut_down())
    server.end_drain()
    server.cancel = None
    server.feed(b"2 PING\n")
    assert server.lines[-3:] == [b"2 ERR closing", b"3 ERR closing", b"2 ERR closing"]


def test_a_client_that_has_finished_gets_no_bye() -> None:
    # ESPS-END-14
    server = server_after([b"1 QUIT\n"])
    assert server.connection.shut_down() is None
    assert server.state is State.QUITTING


def test_an_idle_connection_gets_a_bye() -> None:
    server = MemoryServer()
    assert server.connection.idle_timeout().encode() == b"* BYE idle\n"
    assert server.state is State.ENDED


@pytest.mark.parametrize("closing", [False, True])
def test_unterminated_input_ends_all(*, closing: bool) -> None:
    # ESPS-LINE-18: nothing is sent after the one too-long, not even for running calls
    server = server_after([b"1 CALL a\n"])
    if closing:
        server.connection.shut_down()
    server.feed(b"2 " + b"x" * LIMITS.max_unterminated, b"\n3 PING\n", b"\n" + b"x" * 2048 + b"\n")
    server.connection.end_of_input()
    server.send(server.connection.shut_down())
    server.end_drain()
    server.finish(server.calls[b"1"])
    assert server.lines == [b"2 ERR too-long"]
    assert server.state is State.ENDED


def test_two_endless_lines_in_one_piece_end_it_once() -> None:
    endless = b"x" * LIMITS.max_unterminated + b"\n"
    server = server_after([endless * 2])
    assert server.lines == [b"* ERR too-long"]


# -- whatever the order

Event = bytes | Literal["finish", "shutdown", "end of input", "expire"]
events = st.lists(
    noise.filter(bool)
    | st.just(b"1 PING " + b"x" * LIMITS.max_unterminated)
    | st.sampled_from(["finish", "shutdown", "end of input", "expire"]),
    max_size=12,
)


def happen(server: MemoryServer, event: Event) -> None:
    connection = server.connection
    if isinstance(event, bytes):
        server.feed(event)
    elif event == "finish":
        server.finish_all()
    elif event == "shutdown" and server.state is not State.CLOSING:
        server.send(connection.shut_down())
    elif event == "end of input":
        connection.end_of_input()
    elif event == "expire" and server.state not in (State.OPEN, State.ENDED):
        server.end_drain()
        server.send(connection.drained())


@given(events)
def test_whatever_happens_nothing_is_raised_and_bounds_hold(whatever: list[Event]) -> None:
    # ESPS-END-10
    server = MemoryServer()
    for event in whatever:
        ended, count = server.state is State.ENDED, len(server.sent)
        happen(server, event)
        assert server.connection.running <= LIMITS.max_in_flight
        if ended:
            assert server.state is State.ENDED
            assert len(server.sent) == count
