"""The exceptions of this project, and no reply text: rendering is the edge's work.

One of them, `ProtocolError`, is all that can leave a function whose name ends in `_untrusted`.
"""

from __future__ import annotations

from esps_portal.protocol.escape import printable, visible


class EspsError(Exception):
    """The base of every error that this package raises on purpose."""


class ProtocolError(EspsError):
    """A line or a datagram that ESPS/1 does not allow.

    Raised by what parses a stranger's bytes, and by nothing else.

    Attributes:
        code: the error code that the specification names for it, such as ``"bad-line"``.
        message: what is wrong, for a person.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ReplyError(EspsError):
    """A request was answered with ``ERR``.

    A client raises it when the portal refuses; a service raises it to refuse. A service that
    itself calls another portal therefore passes a refusal on by letting it through.

    Attributes:
        code: the error code, a name of the registry or ``x-...``.
        arguments: what followed the code, decoded octet strings.

    Raises:
        TypeError: the code is no str, or an argument neither str nor bytes.
    """

    def __init__(self, code: str, *arguments: str | bytes) -> None:
        if not isinstance(code, str):
            raise TypeError(f"the code of a refusal is str, not {type(code).__name__}")
        super().__init__(code, *arguments)
        self.code = code
        self.arguments: tuple[bytes, ...] = tuple(_octets(argument) for argument in arguments)

    @property
    def message(self) -> str:
        """What followed the code, as one text for a person."""
        return " ".join(a.decode("utf-8", "backslashreplace") for a in self.arguments)

    def __str__(self) -> str:
        return visible(f"{self.code} {self.message}".rstrip())


def _octets(argument: str | bytes) -> bytes:
    if isinstance(argument, str):
        return argument.encode("utf-8", "backslashreplace")
    if isinstance(argument, bytes | bytearray | memoryview):
        return bytes(argument)
    raise TypeError(f"what follows the code is str or bytes, not {type(argument).__name__}")


class ClosedError(EspsError, ConnectionError):
    """The peer ended the connection before it answered.

    Attributes:
        reason: the word of its ``* BYE``, such as ``"idle"``; empty where it said none.
        greeted: whether it had greeted as a portal does; if not, it may be something else.
    """

    def __init__(self, reason: str = "", *, greeted: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.greeted = greeted

    def __str__(self) -> str:
        if not self.greeted:
            return "the peer ended the connection without a greeting"
        said = f" (it said: {visible(self.reason)})" if self.reason else ""
        return f"the portal ended the connection{said}"


class PeerError(EspsError, ConnectionError):
    """The peer reset the connection, or sent what is not ESPS/1.

    Attributes:
        received: the beginning of what it sent that is not ESPS/1; empty where it reset.
    """

    def __init__(self, message: str = "", received: bytes = b"") -> None:
        super().__init__(message)
        self.message = message
        self.received = received

    def __str__(self) -> str:
        return f"{self.message}{_quoted('; it sent', self.received)}"


class UnreachableError(EspsError, ConnectionError):
    """No connection could be made, or a datagram was refused by the peer's machine."""


class SlowConsumerError(EspsError):
    """So many lines of a stream wait to be collected that the client has ended the call.

    Others on the same connection wait for answers behind those lines, so reading goes on while
    nobody collects them. Collect them faster, or give the stream a connection of its own.
    """


class TimedOutError(EspsError, TimeoutError):
    """No answer came in the time that was given, or after the last retransmission.

    Attributes:
        received: the beginning of what came over UDP and is not ESPS/1, so that it was ignored.
    """

    def __init__(self, message: str = "", received: bytes = b"") -> None:
        super().__init__(message)
        self.message = message
        self.received = received

    def __str__(self) -> str:
        return f"{self.message}{_quoted('; what came is not ESPS/1:', self.received)}"


def _quoted(introduction: str, received: bytes) -> str:
    return f'{introduction} "{printable(received)}"' if received else ""
