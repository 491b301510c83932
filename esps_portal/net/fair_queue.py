"""A queue of received datagrams in which the senders take turns.

In one queue for all senders, the busiest sender would have nearly all the places. Here each sender
has its own queue, and they take turns. A sender may hold as much as is still free: a single one
half of the room, two of them a third each, and a new sender always finds some (the dynamic
thresholds of Choudhury and Hahne, 1998). A datagram that finds no room is dropped, as the kernel
drops it.

A source address can be forged (specification, section 7.3), so this does not defend against an
attacker who does that. It keeps the clients of one machine or network from starving each other.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Generic, TypeVar

import attrs

#: Bytes of all datagrams that wait (own choice): 4,000 short ones, 60 of the longest.
ROOM = 1 << 22
# Bytes that each takes beside its own: for its objects in Python.
_OVERHEAD = 1000

DatagramT = TypeVar("DatagramT")

#: Host and port, as sockets have them, and maybe more.
Address = tuple[Any, ...]


@attrs.define(eq=False)
class _Waiting(Generic[DatagramT]):
    """The datagrams of one sender, the size of each, and their total."""

    address: Address
    datagrams: deque[tuple[DatagramT, int]] = attrs.field(factory=deque)
    held: int = 0


class FairQueue(Generic[DatagramT]):
    """Datagrams that wait.

    Args:
        room: bytes that all datagrams may take, including the overhead of their objects.

    Example::

        queue = FairQueue()
        for _ in range(3):
            queue.add(flooder, b"flood", 5)
        queue.add(client, b"a PING", 6)
        queue.take(2)  # [b"flood", b"a PING"]
    """

    def __init__(self, room: int = ROOM) -> None:
        self._free = room
        self._by_address: dict[Address, _Waiting[DatagramT]] = {}
        # Senders with waiting datagrams, in the order of their turns.
        self._turns: deque[_Waiting[DatagramT]] = deque()

    def __bool__(self) -> bool:
        return bool(self._turns)

    def has_room(self, address: Address, size: int) -> bool:
        """Whether there is room for a datagram of ``size`` bytes from an address."""
        waiting = self._by_address.get(address)
        return (waiting.held if waiting else 0) + size + _OVERHEAD <= self._free

    def add(self, address: Address, datagram: DatagramT, size: int) -> None:
        """Add a datagram for which there is room."""
        size += _OVERHEAD
        waiting = self._by_address.get(address)
        if waiting is None:
            waiting = self._by_address[address] = _Waiting(address)
            self._turns.append(waiting)
        waiting.datagrams.append((datagram, size))
        waiting.held += size
        self._free -= size

    def take(self, count: int) -> list[DatagramT]:
        """Take up to ``count`` datagrams, one of each sender in turn."""
        taken: list[DatagramT] = []
        turns = self._turns
        while turns and len(taken) < count:
            waiting = turns.popleft()
            datagram, size = waiting.datagrams.popleft()
            taken.append(datagram)
            waiting.held -= size
            self._free += size
            if waiting.datagrams:
                turns.append(waiting)
            else:
                del self._by_address[waiting.address]
        return taken

    def clear(self) -> None:
        """Drop all that waits."""
        self._free += sum(waiting.held for waiting in self._turns)
        self._turns.clear()
        self._by_address.clear()
