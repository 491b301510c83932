"""The exceptions of this package. Each carries its cause as data and reads as one line.

Functions whose names end in ``_untrusted`` raise `ProtocolError` and nothing else.
"""

from __future__ import annotations

from esps_portal.protocol.escape import printable, visible


class EspsError(Exception):
    """The base class of the errors below."""


class ProtocolError(EspsError):
    """A line or a datagram violates ESPS/1. Only parsers raise it.

    Attributes:
        code: the error code of the specification, such as ``"bad-line"``.
        message: what is wrong, for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ReplyError(EspsError):
    """The reply to a request is ``ERR``.

    A client raises it when it receives one; a service raises it to send one. So a service that
    calls another portal passes an error on by not catching it.

    Example: ``raise ReplyError("x-sold-out", "try tomorrow")``

    Attributes:
        code: the error code, one of the registry or ``x-...``.
        arguments: the decoded arguments after the code.

    Raises:
        TypeError: the code is not `str`, or an argument is neither `str` nor `bytes`.
    """

    def __init__(self, code: str, *arguments: str | bytes) -> None:
        if not isinstance(code, str):
            raise TypeError(f"an error code must be str, not {type(code).__name__}")
        super().__init__(code, *arguments)
        self.code = code
        self.arguments: tuple[bytes, ...] = tuple(map(_as_bytes, arguments))

    @property
    def message(self) -> str:
        """The arguments after the code, joined, as text for a person."""
        return " ".join(a.decode("utf-8", "backslashreplace") for a in self.arguments)

    def __str__(self) -> str:
        return visible(f"{self.code} {self.message}".rstrip())


def _as_bytes(argument: str | bytes) -> bytes:
    if isinstance(argument, str):
        return argument.encode("utf-8", "backslashreplace")
    if isinstance(argument, bytes | bytearray | memoryview):
        return bytes(argument)
    raise TypeError(f"an argument must be str or bytes, not {type(argument).__name__}")


class ClosedError(EspsError, ConnectionError):
    """The peer ended the connection before it answered.

    Attributes:
        reason: of its ``* BYE``, such as ``"idle"``; empty if it sent none.
        greeted: whether it had sent the greeting of a portal.
        unfinished: the start of the line that it had begun and did not end; mostly empty.
    """

    def __init__(self, reason: str = "", *, greeted: bool = True, unfinished: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.greeted = greeted
        self.unfinished = unfinished

    def __str__(self) -> str:
        if not self.greeted:
            return "the peer ended the connection without a greeting"
        reason = f" (reason: {visible(self.reason)})" if self.reason else ""
        within = _quoted(" within a line:", self.unfinished)
        return f"the portal ended the connection{reason}{within}"


class PeerError(EspsError, ConnectionError):
    """The peer reset the connection, or sent what is not ESPS/1.

    Attributes:
        received: the start of what it sent that is not ESPS/1; after a reset, of the line that it
            had begun and did not end.
    """

    def __init__(self, message: str = "", received: bytes = b"") -> None:
        super().__init__(message)
        self.message = message
        self.received = received

    def __str__(self) -> str:
        return f"{self.message}{_quoted('; it sent', self.received)}"


class UnreachableError(EspsError, ConnectionError):
    """The connection failed, or the peer's machine has rejected a datagram."""


class SlowConsumerError(EspsError):
    """The client ended the call because too many of its ``DATA`` lines were not read.

    Replies to other calls come on the same connection, so it must be read even while nobody
    takes these lines. Read them faster, or use a separate connection for this call.
    """


class TimedOutError(EspsError, TimeoutError):
    """No reply came within the timeout, or after the last retransmission.

    Attributes:
        received: the start of a datagram that was ignored because it is not ESPS/1.
        unfinished: over TCP, the start of a line whose end has not come.
    """

    def __init__(
        self, message: str = "", received: bytes = b"", *, unfinished: bytes = b""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.received = received
        self.unfinished = unfinished

    def __str__(self) -> str:
        other = _quoted("; received what is not ESPS/1:", self.received)
        return f"{self.message}{other}{_quoted('; received part of a line:', self.unfinished)}"


def _quoted(introduction: str, received: bytes) -> str:
    return f'{introduction} "{printable(received)}"' if received else ""
