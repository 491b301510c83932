"""TLS on a connected socket, which reads and writes as a socket does.

This is the only class that reads and writes through `ssl`. It is built on the `ssl.SSLSocket` of
the standard library, which does TLS on a non-blocking socket. `trio.SSLStream` would not do: a
connection here is read and written without waiting, in a turn of the ready set or by a task that
may be cancelled at any moment, and an SSLStream whose `send_all` was cancelled is broken. The
blocking client uses the same class.

What it relies on:

- A record carries at most 16384 bytes (RFC 8446 section 5.1), and OpenSSL takes one at a time from
  the socket. A read of `RECORD_SIZE` bytes leaves nothing inside, so the socket is readable
  whenever there is something to receive, and a poll of its descriptor is enough.
- A write that found no room is repeated, and must then begin with the same bytes. Every caller that
  keeps what was not sent does that.
- A connection ends with ``close_notify`` (RFC 8446 section 6.1). A FIN without one is an error,
  `TLSError`: what arrived may be incomplete, because somebody on the way may have cut it.

Memory: an idle connection costs about 11 kB more than a plain one, nearly all of it OpenSSL's (3.0;
``python -m tests.bench --only tls`` measures it). While a record is read or written, OpenSSL holds
a buffer of about 16 kB for it, and then frees it. That comes to some 110 MB for 10,000 connections.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import socket
import ssl

#: Why a handshake has failed whose peer closed the connection, maybe before it sent anything.
ENDED_EARLY = "it ended the connection during the TLS handshake"
#: The first byte of a record that carries a handshake (RFC 8446 section 5.1).
TLS_HANDSHAKE = b"\x16"
#: Bytes that one record carries at most.
RECORD_SIZE = 16384
# Records that are read before close_notify is sent; see `TLSSocket.shutdown`.
_MAX_EARLY = 16


class TLSError(ConnectionError):
    """TLS has failed, or was cut off; ``strerror`` says why, in a few words about the other side.

    Attributes:
        is_plain: the other side does not speak TLS.
        is_untrusted: nobody who is trusted here has signed its certificate.
        is_from_peer: the other side has ended the connection, with FIN or with an alert, which is
            its last message (RFC 8446 section 6.2).
    """

    def __init__(
        self,
        reason: str,
        *,
        is_plain: bool = False,
        is_untrusted: bool = False,
        is_from_peer: bool = False,
    ) -> None:
        super().__init__(errno.EPROTO, reason)
        self.is_plain: bool = is_plain
        self.is_untrusted: bool = is_untrusted
        self.is_from_peer: bool = is_from_peer

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own would pass its two arguments to our constructor.
        return type(self), (self.strerror,), self.__dict__


class Wants(enum.Enum):
    """What a handshake has to wait for."""

    INPUT = "until the socket can be read"
    ROOM = "until the socket can be written"


class TLSSocket:
    """TLS over a connected socket, which it takes over. First comes the handshake.

    Args:
        connected: over TCP; it is replaced by ``raw``.
        context: certificates and what is trusted.
        server_name: the host that a client has asked for, which the certificate must name; `None`:
            this is the server.

    Attributes:
        raw: the socket itself, for its options and its descriptor.

    Raises:
        OSError: it is connected no more.
    """

    __slots__ = ("_early", "_has_ended", "_has_shaken", "_is_deaf", "_peer_has_ended", "raw")

    def __init__(
        self, connected: socket.socket, context: ssl.SSLContext, server_name: str | None = None
    ) -> None:
        self.raw: ssl.SSLSocket = context.wrap_socket(
            connected,
            server_side=server_name is None,
            server_hostname=server_name and server_name.partition("%")[0],  # no zone of IPv6
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
        self._has_shaken = False
        self._has_ended = False
        self._peer_has_ended = False
        # What came before our close_notify, and was not received yet.
        self._early: list[bytes] = []
        # What comes can no longer be decrypted.
        self._is_deaf = False

    def shake_hands(self) -> Wants | None:
        """Go on with the handshake; return what it waits for, `None` once it is done.

        On a socket that blocks it is done when this returns.

        Raises:
            TLSError: it has failed.
        """
        try:
            self.raw.do_handshake()
        except ssl.SSLWantReadError:
            return Wants.INPUT
        except ssl.SSLWantWriteError:
            return Wants.ROOM
        except ssl.SSLError as error:
            raise _error(error, ENDED_EARLY) from error
        self._has_shaken = True
        return None

    def recv(self, size: int) -> bytes:
        """Return what has come, ``b""`` for close_notify; see ``socket.recv``.

        What cannot be decrypted, as after a handshake that has failed, is discarded.

        Raises:
            BlockingIOError: nothing has.
            TLSError: the peer has violated TLS, or ended the connection without close_notify.
            OSError: it was reset.
        """
        if self._early:
            return self._early.pop(0)
        if self._peer_has_ended:
            return b""
        if self._is_deaf or not self._has_shaken:
            return self._discard(size)
        data = self._read(size)
        self._peer_has_ended = not data
        return data

    def _read(self, size: int) -> bytes:
        try:
            return self.raw.read(max(size, RECORD_SIZE))
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise _error(error) from error

    def _discard(self, size: int) -> bytes:
        """Throw away what has come, up to FIN."""
        while socket.socket.recv(self.raw, size):
            pass
        return b""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send the beginning of ``data``; return how much. After an error it begins the next one.

        Raises:
            BlockingIOError: there is no room.
            TLSError, OSError: the connection is broken.
        """
        if self._has_ended or not self._has_shaken:
            raise BrokenPipeError(errno.EPIPE, "TLS has ended, or has not begun")
        try:
            return self.raw.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error
        except ssl.SSLError as error:
            raise _error(error) from error

    def sendall(self, data: bytes) -> None:
        """Send ``data``, on a socket that blocks.

        Raises:
            TimeoutError: it took too long.
            TLSError, OSError: the connection is broken.
        """
        view = memoryview(data)
        while view:
            view = view[self.send(view) :]

    def shutdown(self, how: int) -> None:
        """Send close_notify, then FIN, as ``socket.shutdown(SHUT_WR)`` sends FIN.

        Raises:
            OSError: it was reset.
        """
        if self._has_shaken and not self._has_ended:
            self._send_close_notify()
        self._has_ended = True
        socket.socket.shutdown(self.raw, how)

    def _send_close_notify(self) -> None:
        # OpenSSL looks for the peer's close_notify at once. Data of its is an error there, after
        # which nothing is decrypted: what has come is read before, within a bound.
        self.raw.settimeout(0)  # also on a socket that blocks: nobody waits for the peer here
        with contextlib.suppress(OSError):
            while len(self._early) < _MAX_EARLY and (data := self._read(RECORD_SIZE)):
                self._early.append(data)
        try:
            self.raw.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass  # it is sent, unless there is no room: the peer then sees that it is missing
        except OSError:
            self._is_deaf = True
        else:
            self._peer_has_ended = True

    def close(self) -> None:
        """Close it; with close_notify if none was sent, and there is room for it."""
        if self._has_shaken and self.raw.fileno() >= 0:
            with contextlib.suppress(OSError):
                self.shutdown(socket.SHUT_WR)
        self.raw.close()

    def fileno(self) -> int:
        """Return the descriptor; -1: it was closed."""
        return self.raw.fileno()

    def settimeout(self, seconds: float | None) -> None:
        """Let an operation wait for that long; 0 does not block, `None` waits indefinitely."""
        self.raw.settimeout(seconds)


# ---- what went wrong, in words about the other side --------------------------------------------

# By OpenSSL's number of the error (x509_vfy.h).
_CERTIFICATE_PROBLEMS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate is signed by a CA that is not trusted here",
    20: "its certificate is signed by a CA that is not trusted here",
    21: "its certificate is signed by a CA that is not trusted here",
    26: "its certificate is for another purpose",
}
_UNTRUSTED = (18, 19, 20, 21)
_WRONG_NAMES = (62, 64)  # of a host, of an IP address
# OpenSSL's names of errors that plain text in place of TLS causes, by version and length.
_PLAIN = {
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_RECORD",
    "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it sent no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS from version 1.2 on",
    "NO_SHARED_CIPHER": "it has no cipher in common",
}


def _error(
    error: ssl.SSLError, at_end: str = "it ended the connection without close_notify"
) -> OSError:
    """Return what went wrong, in words; ``at_end``: those for a FIN where there can be none."""
    # OpenSSL gives a reason for FIN, and none for RST. Python before 3.11.4 has no class of its own
    # for the first, later ones have one for both.
    if error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return TLSError(at_end, is_from_peer=True)
    if isinstance(error, ssl.SSLEOFError):
        return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSError(_certificate_problem(error), is_untrusted=error.verify_code in _UNTRUSTED)
    reason = error.reason or ""
    if reason in _PLAIN:
        return TLSError("it does not speak TLS", is_plain=True)
    _, is_alert, alert = reason.partition("_ALERT_")
    if is_alert:
        return TLSError(f"it refused with the TLS alert {_words(alert)!r}", is_from_peer=True)
    return TLSError(_REASONS.get(reason) or f"TLS failed: {_words(reason) or error.strerror}")


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAMES:
        return "its certificate is for another name"
    known = _CERTIFICATE_PROBLEMS.get(error.verify_code)
    return known or f"its certificate cannot be verified: {error.verify_message}"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
