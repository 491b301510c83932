"""Connections in memory: two bounded pipes, and the client's and the server's end of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.net.stream import no_problem

#: Bytes that a pipe holds before its writer waits (own choice: the order of magnitude of a
#: socket's buffers).
CAPACITY = 65536
_READ_SIZE = 65536


class Pipe:
    """Bytes in one direction. Every change wakes all tasks that wait, and each checks again."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._ended = False  # the writer sends no more: FIN
        self._broken = False  # reset by either end, or closed by the reader
        self._changed = trio.lowlevel.ParkingLot()
        #: Called at each change.
        self.on_change: Callable[[], None] | None = None

    def _notify(self) -> None:
        self._changed.unpark_all()
        if self.on_change is not None:
            self.on_change()

    @property
    def held(self) -> int:
        """How many bytes wait to be read."""
        return len(self._held)

    @property
    def has_news(self) -> bool:
        """Whether reading would not wait."""
        return bool(self._held) or self._ended or self._broken

    async def read(self, size: int) -> bytes:
        """Wait for bytes; ``b""`` is the end."""
        await self.until_news()
        return self.read_now(size)

    async def until_news(self) -> None:
        """Wait until reading would not wait."""
        await trio.lowlevel.checkpoint()
        while not self.has_news:
            await self._changed.park()

    def read_now(self, size: int) -> bytes:
        """Read what there is; ``b""`` is the end."""
        if self._broken:
            raise trio.BrokenResourceError("the connection was reset")
        data = bytes(self._held[:size])
        del self._held[:size]
        self._notify()
        return data

    def write_now(self, data: bytes | bytearray | memoryview) -> int:
        """Write as much as there is room for; return how many bytes."""
        if self._broken or self._ended:
            raise trio.BrokenResourceError("the connection is gone")
        room = CAPACITY - len(self._held)
        self._held += data[:room]
        self._notify()
        return min(room, len(data))

    async def wait_for_room(self) -> None:
        """Wait until something can be written."""
        while len(self._held) >= CAPACITY and not (self._broken or self._ended):
            await self._changed.park()
        if self._broken or self._ended:
            raise trio.BrokenResourceError("the connection is gone")

    @property
    def is_broken(self) -> bool:
        """Whether it was reset."""
        return self._broken

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is true of it, or it is reset."""
        while not (condition() or self._broken):
            await self._changed.park()

    def end(self) -> None:
        """End the direction: the writer sends no more."""
        self._ended = True
        self._notify()

    def reset(self) -> None:
        """Reset: bytes that were not read are lost."""
        self._broken = True
        self._held.clear()
        self._notify()


class ServerEnd:
    """The server's end (`esps_portal.net.stream.Stream`).

    Args:
        silence: as long as it is on nothing is read or written, and an end is postponed.
    """

    def __init__(self, incoming: Pipe, outgoing: Pipe, silence: Silence) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._silence = silence

    @property
    def on_input(self) -> Callable[[], None] | None:
        """Called when something may have come."""
        return self._incoming.on_change

    @on_input.setter
    def on_input(self, call: Callable[[], None] | None) -> None:
        self._incoming.on_change = call

    @property
    def needs_handshake(self) -> bool:
        """Never: there is no TLS in memory."""
        return False

    async def shake_hands(
        self, problem: Callable[[], str] = no_problem, seconds: float = math.inf
    ) -> None:
        """Nothing: there is no TLS in memory."""

    @property
    def half_closes(self) -> bool:
        """Always: a client that sends no more may go on reading."""
        return True

    async def receive(self) -> bytes:
        """Wait for bytes; ``b""`` is the client's FIN."""
        await self._incoming.until_news()
        while self._silence.is_on:
            await self._silence.until_over()
            await self._incoming.until_news()
        return self._incoming.read_now(_READ_SIZE)

    def receive_now(self) -> bytes | None:
        """Return what has come, ``b""`` for the client's FIN; `None`: nothing has."""
        if self.is_silent or not self._incoming.has_news:
            return None
        return self._incoming.read_now(_READ_SIZE)

    @property
    def is_silent(self) -> bool:
        """Whether nothing passes now, whatever comes."""
        return self._silence.is_on

    def fileno(self) -> int:
        """Return -1: a pipe in memory has no descriptor."""
        return -1

    def send_now(self, data: bytes | bytearray) -> int:
        """Send the beginning of ``data`` without waiting; return how many bytes."""
        return 0 if self._silence.is_on else self._outgoing.write_now(data)

    async def wait_writable(self) -> None:
        """Wait for room."""
        await self._silence.until_over()
        await self._outgoing.wait_for_room()

    async def wait_sent(self) -> None:
        """Wait until the client has read everything: a reset would take it away."""
        await self._outgoing.wait_until(lambda: not self._outgoing.held)

    async def wait_reset(self) -> None:
        """Wait until the client has closed its end."""
        await self._outgoing.wait_until(lambda: self._outgoing.is_broken)

    def send_eof(self) -> None:
        """Send no more."""
        self._silence.call_when_over(self._outgoing.end)

    def has_input(self) -> bool:
        """Whether there is something to receive."""
        return self._incoming.has_news

    def sever(self) -> None:
        """Reset: unlike a socket, a pipe belongs to one loop only."""
        self.abort()

    def abort(self) -> None:
        """Reset."""
        self._silence.call_when_over(self._incoming.reset)
        self._silence.call_when_over(self._outgoing.reset)

    def unacked(self) -> int:
        """Return how many bytes the client has not read."""
        return self._outgoing.held

    def acked(self) -> int:
        """Return a number that changes when the client has read something."""
        return -self._outgoing.held

    def close(self, timeout: float = 0.0) -> None:  # noqa: ARG002 - nothing is on its way in memory
        """Send and receive no more."""
        self._silence.call_when_over(self._outgoing.end)
        self._silence.call_when_over(self._incoming.reset)


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
        with self._exclusive("sends"):
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
        with self._exclusive("sends"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            await self._outgoing.wait_for_room()

    async def send_eof(self) -> None:
        """Send no more."""
        with self._exclusive("sends"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            self._ended = True
            self._outgoing.end()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Wait for bytes; ``b""`` is the portal's FIN."""
        size = _READ_SIZE if max_bytes is None else operator.index(max_bytes)
        if size < 1:
            raise ValueError(f"max_bytes must be at least 1, got {size}")
        with self._exclusive("receives"):
            await trio.lowlevel.checkpoint()
            self._check_open()
            return await self._incoming.read(size)

    async def aclose(self) -> None:
        """Send and receive no more."""
        if not self._closed:
            self._closed = True
            self._outgoing.end()
            self._incoming.reset()
        await trio.lowlevel.checkpoint()

    @contextmanager
    def _exclusive(self, doing: str) -> Iterator[None]:
        """Let one task do it at a time; if this end was closed meanwhile, say that."""
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


def memory_pair(silence: Silence = NEVER_SILENT) -> tuple[MemoryStream, ServerEnd]:
    """Return the client's and the server's end of a new connection."""
    to_server, to_client = Pipe(), Pipe()
    return MemoryStream(to_client, to_server), ServerEnd(to_server, to_client, silence)
