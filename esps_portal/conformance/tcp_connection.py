"""One TCP connection to the server, with what it has sent and how it ended."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import sys
from typing import Literal

import attrs
import trio

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.tls_socket import TLSSocket
from esps_portal.conformance.traffic import Traffic

# SO_LINGER, on, 0 seconds: then close() sends RST. Windows has two shorts (<winsock2.h>).
_RESET = struct.pack("HH" if sys.platform == "win32" else "ii", 1, 0)
# How much of either end of long data is sent byte by byte: the rest would say nothing new.
_BYTEWISE = 100
#: Bytes without LF: no server of a usual max-line sends so long a line.
MAX_UNREAD = 1 << 20


@attrs.define(eq=False)
class Connection:
    """One connection to the server.

    Attributes:
        ended: how the server ended it: ``fin``, ``rst``, or empty while it is open.
        probed: whether it is still to be asked whether it works, at the end.
    """

    name: str
    socket: trio.socket.SocketType | TLSSocket
    traffic: Traffic
    local: tuple[str, int]
    unread: bytearray = attrs.field(factory=bytearray)
    ended: str = ""
    probed: bool = True
    _was_reset: bool = False

    async def send(self, data: bytes, *, bytewise: bool) -> None:
        """Send bytes. A connection that the server has ended takes none: that is judged later."""
        try:
            for piece in _pieces(data) if bytewise else [data]:
                await self._send_all(piece)
        except ConnectionResetError:
            self._was_reset = True
        except OSError:
            pass  # a FIN has come before, and then a RST

    async def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = await self.socket.send(view)
            self.traffic.note(self.name, self.local, "data", "client", bytes(view[:sent]))
            view = view[sent:]

    async def send_urgent(self, octet: bytes) -> None:
        """Send an octet as urgent data. Not over TLS, which has none."""
        assert not isinstance(self.socket, TLSSocket)  # noqa: S101 - see `plan.why_unsupported`
        with contextlib.suppress(OSError):  # the server has ended it: that is judged later
            await self.socket.send(octet, socket.MSG_OOB)
        self.traffic.note(self.name, self.local, "data", "client", octet)

    async def receive(self) -> bool:
        """Read more; return whether there was any before the end."""
        if self.ended:
            return False
        try:
            data = await self.socket.recv(65536)
        except OSError:
            data, self._was_reset = b"", True
        if not data:
            # Where sending has met a reset already, reading meets an end without an error.
            how: Literal["fin", "rst"] = "rst" if self._was_reset else "fin"
            self.ended = how
            self.traffic.note(self.name, self.local, how, "server")
            return False
        self.traffic.note(self.name, self.local, "data", "server", data)
        self.unread += data
        return True

    def is_reset(self) -> bool:
        """Whether a RST has come, or FINs of both; what has come before is left unread."""
        poller = select.poll()
        poller.register(self.socket.fileno(), select.POLLERR)
        return bool(poller.poll(0))

    async def line(self) -> bytes | None:
        """Return the next line without its LF; ``None`` at the end.

        Raises:
            MismatchError: it is longer than any line may be.
        """
        while (end := self.unread.find(b"\n")) < 0:
            if len(self.unread) > MAX_UNREAD:
                raise MismatchError("form", "a line that ends", bytes(self.unread))
            if not await self.receive():
                return None
        line = bytes(self.unread[:end])
        del self.unread[: end + 1]
        return line

    async def send_probe(self) -> bool:
        """Send a byte after the server's FIN; return whether no RST has come yet."""
        with contextlib.suppress(OSError):
            await self.socket.send(b"x")
            return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        return False

    def finish_writing(self) -> None:
        """Send a FIN. Not over TLS, where no vector does."""
        assert not isinstance(self.socket, TLSSocket)  # noqa: S101 - see `plan.why_unsupported`
        with contextlib.suppress(OSError):  # it has ended already: that is judged later
            self.socket.shutdown(socket.SHUT_WR)
        self.traffic.note(self.name, self.local, "fin", "client")

    def reset(self) -> None:
        """Send a RST, unless that was done before."""
        if self.socket.fileno() < 0:
            return
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()
        if not self.ended:
            self.traffic.note(self.name, self.local, "rst", "client")


def _pieces(data: bytes) -> list[bytes]:
    """Return data as single bytes, of long data its middle as one piece."""
    middle = data[_BYTEWISE:-_BYTEWISE]
    head, tail = data[:_BYTEWISE], data[max(_BYTEWISE, len(data) - _BYTEWISE) :]
    singles = [[part[i : i + 1] for i in range(len(part))] for part in (head, tail)]
    return [*singles[0], *([middle] if middle else []), *singles[1]]
