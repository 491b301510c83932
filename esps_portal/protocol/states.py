"""The states of a connection and of a call, as the server has them, and what changes them.

The transitions are two tables, `CONNECTION_TRANSITIONS` and `CALL_TRANSITIONS`. A pair that is
absent is a bug of ours, never something that a peer can cause. A test holds the specification's
tables and diagrams against them (section 6.4).
"""

from __future__ import annotations

import enum

import attrs


class State(enum.Enum):
    """What a connection is doing."""

    #: Requests are answered.
    OPEN = "open"
    #: The server shuts down: new requests are refused, running calls may end.
    CLOSING = "closing"
    #: The client has finished: its input is ignored, running calls may end.
    QUITTING = "quitting"
    #: The last line has been written.
    ENDED = "ended"


class Signal(enum.Enum):
    """What can happen to a connection. The values are the names in the specification."""

    #: A line that has no signal of its own.
    REQUEST = "request"
    #: A valid QUIT, while the connection is open.
    QUIT = "quit"
    #: The client's FIN.
    END_OF_INPUT = "end-of-input"
    #: The server wants to end.
    SHUTDOWN = "shutdown"
    #: Nothing has come for `Limits.idle` seconds.
    IDLE = "idle"
    #: Input that ends the connection: another protocol, or too many bytes without an LF.
    FATAL = "fatal"
    #: No call runs any more.
    DRAINED = "drained"
    #: The server does not wait for running calls any longer.
    ABORT = "abort"


CONNECTION_TRANSITIONS = {
    (State.OPEN, Signal.REQUEST): State.OPEN,
    (State.OPEN, Signal.QUIT): State.QUITTING,
    (State.OPEN, Signal.END_OF_INPUT): State.QUITTING,
    (State.OPEN, Signal.SHUTDOWN): State.CLOSING,
    (State.OPEN, Signal.IDLE): State.ENDED,
    (State.OPEN, Signal.FATAL): State.ENDED,
    (State.CLOSING, Signal.REQUEST): State.CLOSING,
    (State.CLOSING, Signal.END_OF_INPUT): State.QUITTING,
    (State.CLOSING, Signal.DRAINED): State.ENDED,
    (State.CLOSING, Signal.FATAL): State.ENDED,
    (State.CLOSING, Signal.ABORT): State.ENDED,
    (State.QUITTING, Signal.END_OF_INPUT): State.QUITTING,
    (State.QUITTING, Signal.DRAINED): State.ENDED,
    (State.QUITTING, Signal.SHUTDOWN): State.QUITTING,
    (State.QUITTING, Signal.ABORT): State.ENDED,
}


class CallState(enum.Enum):
    """What a call of an async service is doing."""

    RUNNING = "running"
    #: Its final reply is written, its task has not ended.
    CANCELLED = "cancelled"
    ENDED = "ended"


CALL_TRANSITIONS = {
    (CallState.RUNNING, "finish"): CallState.ENDED,
    (CallState.RUNNING, "cancel"): CallState.CANCELLED,
    (CallState.CANCELLED, "finish"): CallState.ENDED,
}


@attrs.define(eq=False)
class RunningCall:
    """A call that runs as a task. Compared by identity: its tag may be in use again."""

    tag: bytes
    state: CallState = CallState.RUNNING

    def apply(self, signal: str) -> None:
        """Change the state as `CALL_TRANSITIONS` says."""
        self.state = CALL_TRANSITIONS[self.state, signal]
