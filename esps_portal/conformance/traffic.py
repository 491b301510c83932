"""What went over the wire in one run of a vector, in order."""

from __future__ import annotations

import time
from typing import Literal, TypeAlias

import attrs

#: What happened. A connection is opened by the client; each of the others has a side that did it.
What: TypeAlias = Literal["opened", "data", "fin", "rst"]
Side: TypeAlias = Literal["client", "server"]

_MAX_KEPT = 1 << 20
# Bytes that an event takes beside its data, about.
_OVERHEAD = 200


@attrs.frozen
class Event:
    """One thing that happened.

    Attributes:
        at: seconds since the Unix epoch.
        on: the name of the connection or UDP socket.
        local: the client's address and port.
        data: the bytes that were sent.
    """

    at: float
    on: str
    local: tuple[str, int]
    what: What
    by: Side = "client"
    data: bytes = b""


@attrs.define
class Traffic:
    """The events of one run; the first megabyte.

    Attributes:
        transport: ``tcp`` or ``udp``.
        server: the server's numeric address and port.
        size: bytes of memory that the events take, about.
    """

    transport: Literal["tcp", "udp"]
    server: tuple[str, int]
    events: list[Event] = attrs.field(factory=list)
    size: int = 0

    @property
    def has_answer(self) -> bool:
        """Whether the server has sent anything, or has ended a connection."""
        return any(event.by == "server" for event in self.events)

    def note(
        self,
        on: str,
        local: tuple[str, int],
        what: What,
        by: Side = "client",
        data: bytes = b"",
    ) -> None:
        """Note what just happened; bytes join those before them, if they are of one direction."""
        if self.size + _OVERHEAD + len(data) > _MAX_KEPT:
            return
        last = self.events[-1] if self.events else None
        if what == "data" and self.transport == "tcp" and last and _continues(last, on, by):
            self.events[-1] = attrs.evolve(last, data=last.data + data)
        else:
            self.events.append(Event(time.time(), on, local, what, by, data))
            self.size += _OVERHEAD
        self.size += len(data)


def _continues(last: Event, on: str, by: Side) -> bool:
    return (last.what, last.on, last.by) == ("data", on, by)
