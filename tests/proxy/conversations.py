"""A connection through a proxy without any socket: what units make of what both sides send."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from esps_portal.exchanges.live_exchange import CLIENT, SERVER, SideActions
from esps_portal.faults.actions import Action, End, Hold, Pause, Send
from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import Framing
from esps_portal.journal.records import RecordedExchange
from esps_portal.proxy.framed import Framed
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.unframed import Unframed
from esps_portal.proxy.units import Units
from esps_portal.proxy.upstream import Upstream

#: What one side sends, all of it before the other speaks again.
Turn = tuple[str, bytes]
#: Sizes of pieces for `hold`: all that a side says at once, and byte by byte.
WHOLE, BYTES = (1 << 20,), (1,)
#: A connection of a protocol with a greeting.
TURNS: list[Turn] = [
    (SERVER, b"220 ready\r\n"),
    (CLIENT, b"INCR n\r\n"),
    (SERVER, b":1\r\n"),
    (CLIENT, b"GET some key\r\n"),
    (SERVER, b"$5\r\nvalue\r\n"),
    (CLIENT, b"INCR n\r\n"),
    (SERVER, b":2\r\n"),
    (CLIENT, b"QUIT\r\n"),
]


@attrs.define(eq=False)
class Spoken:
    """One connection, and what has reached each side.

    Attributes:
        came: what has come at a side.
        happened: what faults have done on the way to a side: the action, and how many bytes have
            come at the side before it.
    """

    state: ProxyState
    units: Units
    came: dict[str, bytes] = attrs.field(factory=lambda: {CLIENT: b"", SERVER: b""})
    happened: list[tuple[str, str, int]] = attrs.field(factory=list)

    def say(self, side: str, data: bytes, *, is_early: bool = False) -> None:
        """Have one side say something, and read it at once; after an end nothing is read."""
        if self.has_ended:
            return
        if side == CLIENT:
            steps = self.units.from_client(data, 1.0, is_early=is_early)
        else:
            steps = self.units.from_server(data, 1.0)
        other = SERVER if side == CLIENT else CLIENT
        for step in [SideActions(other, [Send(data)])] if steps is None else steps:
            self._see(step.to, step.actions)

    @property
    def has_ended(self) -> bool:
        """Whether a fault has ended both directions."""
        return any(name in {"close", "reset"} for _, name, _ in self.happened)

    def end(self) -> None:
        """Both sides send FIN."""
        for side in () if self.has_ended else (CLIENT, SERVER):
            for step in self.units.ended(side, 2.0):
                self._see(step.to, step.actions)
        self.units.closed(2.0, gracefully=True)

    def _see(self, to: str, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Send | Hold):
                self.came[to] += action.data
            if isinstance(action, Pause | End):
                name = action.how if isinstance(action, End) else f"pause {action.seconds:g}"
                self.happened.append((to, name, len(self.came[to])))

    @property
    def exchanges(self) -> list[RecordedExchange]:
        return list(self.state.exchanges.exchanges)

    def said(self) -> list[tuple[int, bytes, bytes, bool, list[str]]]:
        """Return each exchange: number, request, reply, whether it is complete, and its faults.

        What has been said in the one in which a fault ends the connection depends on how much was
        read before that: it is left out.
        """
        found = [
            (found.number, found.request, found.reply, found.complete, _names(found.fault))
            for found in self.exchanges
        ]
        if self.has_ended:
            number, *_, faults = found.pop()
            found.append((number, b"", b"", False, faults))
        return found


def _names(faults: str) -> list[str]:
    return sorted(faults.split("; ")) if faults else []


def proxy_state(framing: Framing | None = None, reply_framing: Framing | None = None) -> ProxyState:
    return ProxyState(Upstream.parse("tcp://127.0.0.1:1"), framing, reply_framing)


def place(state: ProxyState, kind: str, **options: Any) -> Fault:  # noqa: ANN401 - checked by the fault
    return state.faults.place(Fault.create(kind, **options))


def open_connection(state: ProxyState) -> Spoken:
    """Open a connection through a proxy."""
    connection = state.journal.opened(("127.0.0.1", 1), 0.0)
    tracker = state.new_tracker(connection, 0.0)
    if state.framing is None or state.reply_framing is None:
        return Spoken(state, Unframed(tracker))
    framed = Framed(tracker, state.framing, state.reply_framing, state.note_leftover)
    return Spoken(state, framed)


def cut(data: bytes, sizes: Iterable[int]) -> list[bytes]:
    """Cut bytes into pieces of these sizes, over and over."""
    found: list[bytes] = []
    steps = list(sizes)
    while data:
        size = steps[len(found) % len(steps)]
        found.append(data[:size])
        data = data[size:]
    return found


def hold(state: ProxyState, turns: Iterable[Turn], sizes: Iterable[int]) -> Spoken:
    """Let both sides speak in turn on one connection, read in pieces of these sizes."""
    spoken, steps = open_connection(state), list(sizes)
    for side, data in turns:
        for piece in cut(data, steps):
            spoken.say(side, piece)
    spoken.end()
    return spoken
