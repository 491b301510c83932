"""The tables of moves: every row is reached, and what they lack cannot happen."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest

from esps_portal.protocol.server_connection import (
    CALL_MOVES,
    CONNECTION_MOVES,
    CallState,
    RunningCall,
    Signal,
    State,
)
from tests.protocol.carrier import LIMITS, Carrier

UNTERMINATED = b"x" * LIMITS.max_unterminated

# How a connection comes into a state, and how each signal comes about.
INTO: dict[State, Callable[[Carrier], object]] = {
    State.OPEN: lambda carrier: carrier.feed(b"\n"),
    State.CLOSING: lambda carrier: carrier.conversation.shut_down(),
    State.QUITTING: lambda carrier: carrier.conversation.end_of_input(),
    State.ENDED: lambda carrier: carrier.conversation.idle(),
}
CAUSE: dict[Signal, Callable[[Carrier], object]] = {
    Signal.REQUEST: lambda carrier: carrier.feed(b"1 PING\n"),
    Signal.QUIT: lambda carrier: carrier.feed(b"1 QUIT\n"),
    Signal.END_OF_INPUT: lambda carrier: carrier.conversation.end_of_input(),
    Signal.SHUTDOWN: lambda carrier: carrier.conversation.shut_down(),
    Signal.IDLE: lambda carrier: carrier.conversation.idle(),
    Signal.FATAL: lambda carrier: carrier.feed(UNTERMINATED),
    Signal.DRAINED: lambda carrier: carrier.conversation.drained(),
}
ABSENT = [pair for pair in product(State, Signal) if pair not in CONNECTION_MOVES]
# Whatever a peer does, when it is too late for it, changes nothing; so does a late shutdown.
BY_PEER = {Signal.REQUEST, Signal.QUIT, Signal.END_OF_INPUT, Signal.FATAL}
CANNOT_HAPPEN = [
    pair for pair in ABSENT if pair[1] not in BY_PEER and pair != (State.ENDED, Signal.SHUTDOWN)
]


def in_state(state: State) -> Carrier:
    carrier = Carrier()
    INTO[state](carrier)
    assert carrier.state is state
    return carrier


@pytest.mark.parametrize(("before", "signal"), CONNECTION_MOVES)
def test_every_row_is_reached(before: State, signal: Signal) -> None:
    carrier = in_state(before)
    CAUSE[signal](carrier)
    assert carrier.state is CONNECTION_MOVES[before, signal]


@pytest.mark.parametrize(
    ("state", "signal"), [pair for pair in ABSENT if pair not in CANNOT_HAPPEN]
)
def test_what_comes_too_late_changes_nothing(state: State, signal: Signal) -> None:
    # ESPS-END-10: and draws no line where the last one was written
    carrier = in_state(state)
    said = CAUSE[signal](carrier)
    assert carrier.state is state
    if state is not State.CLOSING:
        assert carrier.sent == []
        assert said in (None, carrier)


@pytest.mark.parametrize(("state", "signal"), CANNOT_HAPPEN)
def test_what_only_we_could_do_wrong_is_an_error(state: State, signal: Signal) -> None:
    carrier = in_state(state)
    with pytest.raises(KeyError):
        CAUSE[signal](carrier)


@pytest.mark.parametrize(("before", "signal"), CALL_MOVES)
def test_every_row_of_a_call_is_reached(before: CallState, signal: str) -> None:
    call = RunningCall(b"1", before)
    call.move(signal)
    assert call.state is CALL_MOVES[before, signal]


@pytest.mark.parametrize(
    ("state", "signal"),
    [pair for pair in product(CallState, ["finish", "cancel"]) if pair not in CALL_MOVES],
)
def test_a_call_makes_no_other_move(state: CallState, signal: str) -> None:
    with pytest.raises(KeyError):
        RunningCall(b"1", state).move(signal)


def test_the_rows_of_a_call_come_about_in_conversations() -> None:
    carrier = Carrier().feed(b"1 CALL a\n2 CALL b\n")
    finished, cancelled = carrier.calls[b"1"], carrier.calls[b"2"]
    assert finished.state is CallState.RUNNING
    carrier.finish(finished)
    carrier.conversation.end_of_input()
    carrier.expire()
    assert (finished.state, cancelled.state) == (CallState.ENDED, CallState.CANCELLED)
    carrier.finish(cancelled)
    assert cancelled.state is CallState.ENDED
