"""What a plan asks of a writer: send, pause, hold back, end. Nothing here is performed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeGuard

import attrs


@attrs.frozen
class Send:
    """Send these bytes at once."""

    data: bytes


@attrs.frozen
class Pause:
    """Wait for this many seconds.

    Attributes:
        since_arrival: it counts from when the bytes after it were read, not from their turn. So
            units that come close together are late by the same time, not by the sum.
        rate_of: whose rate it keeps, if any, such as a unit's. Then it counts from when the pause
            before it was to end, so that the rate stays the same where each ends a little late.
    """

    seconds: float
    since_arrival: bool = False
    rate_of: object | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Hold:
    """Hold these bytes back, until enough replies are held or ``seconds`` after the first.

    An end, of a fault or of the server's own, lets go what is held at once: no other reply will
    come that could be sent with it.

    Attributes:
        replies: how many held replies are sent together; 0: only the time counts.
        final: the bytes end a reply, which counts.
    """

    data: bytes
    replies: int
    seconds: float
    final: bool


@attrs.frozen
class End:
    """End the connection: ``close`` (FIN), ``reset`` (RST), ``half-close``, ``stall`` or ``deaf``.

    After ``deaf`` bytes are still sent; after any other nothing is.
    """

    how: str


@attrs.frozen
class OtherWay:
    """Perform these towards the other side: a fault answers what a client sent."""

    actions: tuple[Action, ...]


@attrs.frozen
class Note:
    """Call a function when everything before it was sent.

    Attributes:
        call: called with the time, in seconds on the clock of the writer.
    """

    call: Callable[[float], None]


Action = Send | Pause | Hold | End | OtherWay | Note


def merge_sends(actions: list[Action]) -> list[Action]:
    """Return the same actions, without empty ones and with neighbouring bytes sent together.

    Delays of two faults that count from the same arrival become one: each makes the bytes later.
    """
    merged: list[Action] = []
    for action in actions:
        if isinstance(action, Send) and not action.data:
            continue
        last = merged[-1] if merged else None
        if isinstance(action, Send) and isinstance(last, Send):
            merged[-1] = Send(last.data + action.data)
        elif _is_delay(action) and _is_delay(last):
            merged[-1] = Pause(last.seconds + action.seconds, since_arrival=True)
        else:
            merged.append(action)
    return merged


def _is_delay(action: Action | None) -> TypeGuard[Pause]:
    return isinstance(action, Pause) and action.since_arrival
