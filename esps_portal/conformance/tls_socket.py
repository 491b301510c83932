"""TLS on the socket of a connection to the server, with the methods that a connection uses.

Like everything here it uses Python's ``ssl`` alone, so that our own TLS does not judge itself.
"""

from __future__ import annotations

import ssl

import trio

# Plain bytes of one record (RFC 8446, section 5.1).
_RECORD = 16384
_READ_SIZE = 65536


class TLSSocket:
    """TLS over a connected socket.

    Args:
        sock: it is closed with this.
        context: what is trusted.
        host: the name or address that the certificate is to be for.
    """

    def __init__(self, sock: trio.socket.SocketType, context: ssl.SSLContext, host: str) -> None:
        self._socket = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        # Encrypted, and not yet sent: a send that was cancelled leaves it to the next.
        self._unsent = b""

    async def shake_hands(self) -> None:
        """Do the handshake.

        Raises:
            OSError: it fails; an `ssl.SSLError` is one.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            else:
                await self._flush()
                return

    async def send(self, data: bytes | memoryview) -> int:
        """Send some of it; return how much."""
        size = self._tls.write(data[:_RECORD])
        await self._flush()
        return size

    async def recv(self, size: int) -> bytes:
        """Return what comes; ``b""`` after close_notify.

        Raises:
            ConnectionResetError: the connection has ended without one (ESPS-TLS-5).
        """
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError as error:
                raise ConnectionResetError("the connection ended without close_notify") from error

    async def _flush(self) -> None:
        self._unsent += self._outgoing.read()
        while self._unsent:
            sent = await self._socket.send(self._unsent)
            self._unsent = self._unsent[sent:]

    async def _fill(self) -> None:
        data = await self._socket.recv(_READ_SIZE)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def fileno(self) -> int:
        """Return the number of the socket; -1 once it is closed."""
        return self._socket.fileno()

    def getsockopt(self, level: int, option: int) -> int:
        """Return an option of the socket."""
        return self._socket.getsockopt(level, option)

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        """Set an option of the socket."""
        self._socket.setsockopt(level, option, value)

    def close(self) -> None:
        """Close the socket, without close_notify."""
        self._socket.close()
