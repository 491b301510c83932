"""The tables of transitions: every row is reached, and no other pair can happen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from esps_portal.protocol.states import (
    CALL_TRANSITIONS,
    CONNECTION_TRANSITIONS,
    CallState,
    RunningCall,
    Signal,
    State,
)
from tests.protocol.memory_server import LIMITS, MemoryServer

UNTERMINATED = b"x" * LIMITS.max_unterminated

# How to reach each state, and how to cause each signal.
INTO: dict[State, Callable[[MemoryServer], object]] = {
    State.OPEN: lambda server: server.feed(b"\n"),
    State.CLOSING: lambda server: server.connection.shut_down(),
    State.QUITTING: lambda server: server.connection.end_of_input(),
    State.ENDED: lambda server: server.connection.idle_timeout(),
}
CAUSE: dict[Signal, Callable[[MemoryServer], object]] = {
    Signal.REQUEST: lambda server: server.feed(b"1 PING\n"),
    Signal.QUIT: lambda server: server.feed(b"1 QUIT\n"),
    Signal.END_OF_INPUT: lambda server: server.connection.end_of_input(),
    Signal.SHUTDOWN: lambda server: server.connection.shut_down(),
    Signal.IDLE: lambda server: server.connection.idle_timeout(),
    Signal.FATAL: lambda server: server.feed(UNTERMINATED),
    Signal.DRAINED: lambda server: server.connection.drained(),
    Signal.ABORT: lambda server: server.connection.abort(),
}
ABSENT = [pair for pair in product(State, Signal) if pair not in CONNECTION_TRANSITIONS]
# Whatever a peer does too late changes nothing; nor does a late shutdown.
BY_PEER = {Signal.REQUEST, Signal.QUIT, Signal.END_OF_INPUT, Signal.FATAL}
CANNOT_HAPPEN = [
    pair for pair in ABSENT if pair[1] not in BY_PEER and pair != (State.ENDED, Signal.SHUTDOWN)
]


def in_state(state: State) -> MemoryServer:
    server = MemoryServer()
    INTO[state](server)
    assert server.state is state
    return server


@pytest.mark.parametrize(("before", "signal"), CONNECTION_TRANSITIONS)
def test_every_row_is_reached(before: State, signal: Signal) -> None:
    server = in_state(before)
    CAUSE[signal](server)
    assert server.state is CONNECTION_TRANSITIONS[before, signal]


@pytest.mark.parametrize(
    ("state", "signal"), [pair for pair in ABSENT if pair not in CANNOT_HAPPEN]
)
def test_what_comes_too_late_changes_nothing(state: State, signal: Signal) -> None:
    # ESPS-END-10: and no line is sent after the last one
    server = in_state(state)
    result = CAUSE[signal](server)
    assert server.state is state
    if state is not State.CLOSING:
        assert server.sent == []
        assert result in (None, server)


@pytest.mark.parametrize(("state", "signal"), CANNOT_HAPPEN)
def test_other_pairs_are_bugs_of_ours(state: State, signal: Signal) -> None:
    server = in_state(state)
    with pytest.raises(KeyError):
        CAUSE[signal](server)


@pytest.mark.parametrize(("before", "signal"), CALL_TRANSITIONS)
def test_every_row_of_a_call_is_reached(before: CallState, signal: str) -> None:
    call = RunningCall(b"1", before)
    call.apply(signal)
    assert call.state is CALL_TRANSITIONS[before, signal]


@pytest.mark.parametrize(
    ("state", "signal"),
    [pair for pair in product(CallState, ["finish", "cancel"]) if pair not in CALL_TRANSITIONS],
)
def test_a_call_makes_no_other_transition(state: CallState, signal: str) -> None:
    with pytest.raises(KeyError):
        RunningCall(b"1", state).apply(signal)


def test_the_rows_of_a_call_are_reached_by_connections() -> None:
    server = MemoryServer().feed(b"1 CALL a\n2 CALL b\n")
    finished, cancelled = server.calls[b"1"], server.calls[b"2"]
    assert finished.state is CallState.RUNNING
    server.finish(finished)
    server.connection.end_of_input()
    server.end_drain()
    assert (finished.state, cancelled.state) == (CallState.ENDED, CallState.CANCELLED)
    server.finish(cancelled)
    assert cancelled.state is CallState.ENDED
