"""TLS on a connected socket, which reads and writes as a socket does.

This is the only class that reads and writes through `ssl`. `trio.SSLStream` would not do: a
connection here is read and written without waiting, in a turn of the ready set or by a task that
may be cancelled at any moment, and an SSLStream whose `send_all` was cancelled is broken. The
blocking client uses the same class.

Nor would `ssl.SSLSocket`: its `read` deals with every record that has come and carries no data, and
a peer can send those without end (KeyUpdate, RFC 8446 section 4.6.3; a renegotiation in TLS 1.2),
each of 27 bytes. So OpenSSL gets here what one read brings, at most `RECORD_SIZE` bytes, and then
others have their turn.

What it relies on:

- Nothing that somebody could wait for stays inside, so the socket is readable whenever there is
  something to receive, and a poll of its descriptor is enough: input is looked at (MSG_PEEK),
  decrypted, and then taken from the kernel, but for one byte if there is more inside.
- A write that found no room, for all or for the rest, has encrypted what comes next: the next one
  must begin with those bytes. Every caller that keeps what was not sent does that.
- A connection ends with ``close_notify`` (RFC 8446 section 6.1). A FIN without one is an error,
  `TLSError`: what arrived may be incomplete, because somebody on the way may have cut it.

Memory: an idle connection costs about 14 kB more than a plain one, nearly all of it OpenSSL's (3.0;
``python -m tests.bench --only tls`` measures it). While a record is read or written, OpenSSL holds
a buffer of about 16 kB for it, and then frees it. That comes to some 140 MB for 10,000 connections.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import socket
import ssl

from esps_portal.net.tls_errors import ENDED_EARLY, TLSError, translate

#: The first byte of a record that carries a handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = b"\x16"
#: Bytes that one record carries at most.
RECORD_SIZE = 16384
# Bytes that wait for room, at most, also of TLS's own: alerts, for example (own choice: a peer that
# causes more and reads none is hostile).
_MAX_UNSENT = 4 * RECORD_SIZE


class Wants(enum.Enum):
    """What a handshake has to wait for."""

    INPUT = "until the socket can be read"
    ROOM = "until the socket can be written"


class TLSSocket:
    """TLS over a connected socket, which it takes over. First comes the handshake.

    Args:
        connected: over TCP.
        context: certificates and what is trusted.
        server_name: the host that a client has asked for, which the certificate must name; `None`:
            this is the server.

    Attributes:
        raw: the socket itself, for its options and its descriptor.
    """

    __slots__ = (
        "_early",
        "_error",
        "_has_ended",
        "_incoming",
        "_is_established",
        "_outgoing",
        "_peeked",
        "_peer_has_ended",
        "_tls",
        "_unsent",
        "_written",
        "raw",
    )

    def __init__(
        self, connected: socket.socket, context: ssl.SSLContext, server_name: str | None = None
    ) -> None:
        self.raw: socket.socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls: ssl.SSLObject = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name and server_name.partition("%")[0],  # no zone of IPv6
        )
        self._is_established = False
        self._has_ended = False
        self._peer_has_ended = False
        # What has ended it for reading, to be raised once what came before was received.
        self._error: OSError | None = None
        # How many bytes OpenSSL has been given that the kernel still holds.
        self._peeked = 0
        # What came before our close_notify, and was not received yet.
        self._early = b""
        # Encrypted bytes that wait for room, and of how many plain ones they are the last.
        self._unsent = b""
        self._written = 0

    def shake_hands(self) -> Wants | None:
        """Take one step of the handshake; return what the next one waits for, `None`: it is done.

        On a socket that blocks, the step waits itself.

        Raises:
            TLSError: it has failed.
            OSError: the connection was reset.
        """
        try:
            wants = self._step()
            if wants is not None:
                self._flush()
                self._feed()
                wants = self._step()
                # A client may have sent its first request with the end of its handshake.
                self._take_fed(leave=int(self._incoming.pending > 0))
            self._flush()
        except BlockingIOError:
            return Wants.ROOM if self._has_unsent() else Wants.INPUT
        except ssl.SSLError as error:
            self._flush_if_possible()  # an alert that says why
            raise translate(error, ENDED_EARLY) from error
        return wants

    def _step(self) -> Wants | None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return Wants.INPUT
        self._is_established = True
        return None

    def recv(self, size: int) -> bytes:
        """Return what has come, ``b""`` for close_notify; see ``socket.recv``.

        What cannot be decrypted, as after a handshake that has failed, is discarded.

        Raises:
            BlockingIOError: nothing has. Also on a socket that blocks: what came is no data, or
                only a part of a record.
            TLSError: the peer has violated TLS, or ended the connection without close_notify.
            OSError: it was reset.
        """
        if self._early:
            early, self._early = self._early, b""
            return early
        if not self._is_established or (self._error is not None and self._has_ended):
            return self._discard(size)
        data = b""
        if not self._peer_has_ended and self._error is None:
            self._feed()
            data = self._decrypt()
        is_over = self._peer_has_ended or self._error is not None
        # With the last data the socket must stay readable: the end is still to be received.
        self._take_fed(leave=int(bool(data) and is_over))
        if data or self._peer_has_ended:
            return data
        raise self._error or BlockingIOError(errno.EAGAIN, "no data")

    def _feed(self) -> None:
        """Give OpenSSL what has come, at most `RECORD_SIZE` bytes."""
        data = self.raw.recv(RECORD_SIZE, socket.MSG_PEEK)
        if data:
            self._incoming.write(memoryview(data)[self._peeked :])
            self._peeked = len(data)
        else:
            self._incoming.write_eof()

    def _decrypt(self) -> bytes:
        """Return the data that OpenSSL has; what ends it is noted."""
        parts: list[bytes] = []
        try:
            while not parts or self._incoming.pending:
                part = self._tls.read(RECORD_SIZE)
                parts.append(part)
                if not part:
                    self._peer_has_ended = True
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_has_ended = True
        except ssl.SSLError as error:
            self._error = translate(error)
        self._flush_if_possible()  # what TLS itself answers: an alert, for example
        if self._error is None and len(self._unsent) + self._outgoing.pending > _MAX_UNSENT:
            self._error = TLSError("it does not read what TLS answers")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_fed(self, *, leave: int = 0) -> None:
        """Take from the kernel what OpenSSL has, and leave this many bytes of it there."""
        if self._peeked > leave:
            with contextlib.suppress(OSError):  # it was reset: the next read says so
                self.raw.recv(self._peeked - leave)
            self._peeked = leave

    def _discard(self, size: int) -> bytes:
        """Throw away what has come, and no more in this turn."""
        if self.raw.recv(size):
            raise BlockingIOError(errno.EAGAIN, "no data")
        return b""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send the beginning of ``data``; return how much. The next call begins with the rest.

        Raises:
            BlockingIOError: there is no room.
            TLSError, OSError: the connection is broken.
        """
        if self._has_ended or not self._is_established:
            raise BrokenPipeError(errno.EPIPE, "TLS has ended, or has not begun")
        sent = 0
        with memoryview(data) as view:
            try:
                while sent < len(view):
                    if not self._written:
                        self._written = self._tls.write(view[sent : sent + RECORD_SIZE])
                    self._flush()
                    sent, self._written = sent + self._written, 0
            except (BlockingIOError, ssl.SSLWantReadError) as error:
                if not sent:
                    raise BlockingIOError(errno.EAGAIN, "no room") from error
            except ssl.SSLError as error:
                raise translate(error) from error
        return sent

    def sendall(self, data: bytes) -> None:
        """Send ``data``, on a socket that blocks.

        Raises:
            TimeoutError: it took too long.
            TLSError, OSError: the connection is broken.
        """
        view = memoryview(data)
        while view:
            view = view[self.send(view) :]

    def _has_unsent(self) -> bool:
        return bool(self._unsent or self._outgoing.pending)

    def _flush(self) -> None:
        """Send what is encrypted.

        Raises:
            BlockingIOError: there is no room for all of it.
            OSError: the connection is broken.
        """
        while self._unsent or self._outgoing.pending:
            self._unsent = self._unsent or self._outgoing.read()
            self._unsent = self._unsent[self.raw.send(self._unsent) :]

    def _flush_if_possible(self) -> None:
        if self._has_unsent():
            with contextlib.suppress(OSError):
                self._flush()

    def shutdown(self, how: int) -> None:
        """Send close_notify, then FIN, as ``socket.shutdown(SHUT_WR)`` sends FIN.

        Raises:
            OSError: it was reset.
        """
        if self._is_established and not self._has_ended:
            self._send_close_notify()
        self._has_ended = True
        self.raw.shutdown(how)

    def _send_close_notify(self) -> None:
        self.raw.settimeout(0)  # also on a socket that blocks: nobody waits for the peer here
        # OpenSSL looks for the peer's close_notify at once. Data is an error there, after which
        # nothing is decrypted: what came with the end of the handshake is read before.
        if self._incoming.pending and not self._peer_has_ended:
            self._early += self._decrypt()
            self._take_fed()
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._error = self._error or translate(error)
        else:
            self._peer_has_ended = True
        # Unless there is no room: the peer then sees that it is missing.
        self._flush_if_possible()

    def close(self) -> None:
        """Close it; with close_notify if none was sent, and there is room for it."""
        if self._is_established and self.raw.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self.raw.close()

    def fileno(self) -> int:
        """Return the descriptor; -1: it was closed."""
        return self.raw.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """Let an operation wait for that long; 0 does not block, `None` waits indefinitely."""
        self.raw.settimeout(seconds)
