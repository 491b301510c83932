"""Streams in memory, bounded: two pipes, and the ends that a client and a server have of them."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

import trio

#: Octets that a pipe holds before its writer waits: what a socket's buffers hold, in order of
#: magnitude.
CAPACITY = 65536
_READ_SIZE = 65536


class Pipe:
    """Octets one way. Every change wakes all that wait, and they look again."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False  # the writer has sent all: FIN
        self._broken = False  # reset by either end, or the reader has gone
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def held(self) -> int:
        """How many octets wait to be read."""
        return len(self._held)

    @property
    def has_news(self) -> bool:
        """Whether reading would not wait."""
        return bool(self._held) or self._ended or self._broken

    async def read(self, size: int) -> bytes:
        """Wait for octets; ``b""`` is the end."""
        await trio.lowlevel.checkpoint()
        while not self.has_news:
            await self._changed.park()
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")
        data = bytes(self._held[:size])
        del self._held[:size]
        self._changed.unpark_all()
        return data

    def write_now(self, data: bytes | bytearray | memoryview) -> int:
        """Take what there is room for, and return how much that is."""
        if self._broken or self._ended:
            raise trio.BrokenResourceError("the connection is gone")
        room = CAPACITY - len(self._held)
        self._held += data[:room]
        self._changed.unpark_all()
        return min(room, len(data))

    async def wait_for_room(self) -> None:
        """Wait until something can be written."""
        while len(self._held) >= CAPACITY and not (self._broken or self._ended):
            await self._changed.park()
        if self._broken or self._ended:
            raise trio.BrokenResourceError("the connection is gone")

    def end(self) -> None:
        """The writer has sent all."""
        self._ended = True
        self._changed.unpark_all()

    def break_off(self) -> None:
        """Nothing comes through any more; what was under way is lost."""
        self._broken = True
        self._held.clear()
        self._changed.unpark_all()


class ServerEnd:
    """The server's end (`esps_portal.net.streams.Stream`)."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing

    async def receive(self) -> bytes:
        """Wait for octets; ``b""`` is the client's end."""
        return await self._incoming.read(_READ_SIZE)

    def send_now(self, data: bytes | bytearray) -> int:
        """Send the beginning of ``data`` without waiting; return how much."""
        return self._outgoing.write_now(data)

    async def wait_writable(self) -> None:
        """Wait for room."""
        await self._outgoing.wait_for_room()

    def send_eof(self) -> None:
        """Send no more."""
        self._outgoing.end()

    def has_input(self) -> bool:
        """Whether something has come that was not received."""
        return self._incoming.has_news

    def sever(self) -> None:
        """Reset: a loop in memory is nobody else's."""
        self.abort()

    def abort(self) -> None:
        """Reset."""
        self._incoming.break_off()
        self._outgoing.break_off()

    def unacked(self) -> int:
        """Return how many octets the client has not read."""
        return self._outgoing.held

    def close(self, patience: float = 0.0) -> None:  # noqa: ARG002 - what is here waits for nobody
        """Send no more, hear no more."""
        self._outgoing.end()
        self._incoming.break_off()


class MemoryStream(trio.abc.HalfCloseableStream):
    """The client's end. A reset is `trio.BrokenResourceError`, as on a socket stream."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._ended = False
        self._busy: set[str] = set()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, and wait until there was room for all of it."""
        with self._alone("sends"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            if self._ended:
                raise trio.ClosedResourceError("send_eof was called")
            view = memoryview(data)
            while view:
                await self._outgoing.wait_for_room()
                view = view[self._outgoing.write_now(view) :]

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        with self._alone("sends"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self._outgoing.wait_for_room()

    async def send_eof(self) -> None:
        """Send no more."""
        with self._alone("sends"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            self._ended = True
            self._outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for octets; ``b""`` is the portal's end."""
        size = _READ_SIZE if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError("max_bytes is 1 at least")
        with self._alone("receives"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            return await self._incoming.read(size)

    async def aclose(self) -> None:
        """Send no more, hear no more."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.break_off()
        await trio.lowlevel.checkpoint()

    @contextmanager
    def _alone(self, doing: str) -> Iterator[None]:
        """Let one task do it at a time; our own close meanwhile is not the peer's doing."""
        if doing in self._busy:
            raise trio.BusyResourceError(f"another task {doing} on this stream")
        self._busy.add(doing)
        try:
            yield
        except trio.BrokenResourceError:
            self._check_open()
            raise
        finally:
            self._busy.discard(doing)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError


def memory_pair() -> tuple[MemoryStream, ServerEnd]:
    """Return the client's and the server's end of a new connection."""
    there, back = Pipe(), Pipe()
    return MemoryStream(back, there), ServerEnd(there, back)
