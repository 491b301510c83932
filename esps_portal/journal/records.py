"""What the journal holds: a record for each connection and each request, with its outcome."""

from __future__ import annotations

import attrs

from esps_portal.protocol.messages import Request, readable_tag

RECEIVED, REPLIED, FAULTED, ABORTED, REPLAYED = (
    "received",
    "replied",
    "faulted",
    "aborted",
    "replayed",
)


@attrs.define(eq=False)
class RecordedConnection:
    """One TCP connection.

    Attributes:
        number: from 1, in the order in which they were accepted.
        remote: the client's address and port.
        opened, closed: seconds since the portal started, or was last reset; ``None``: it is still
            open.
        is_kept: it was open already at that reset, and stayed so.
        closed_by: who closed first: ``client`` or ``portal``; empty until one of them has.
        how: ``fin``, ``rst``; empty until then.
        requests: how many came on it.
    """

    number: int
    remote: tuple[str, int]
    opened: float
    closed: float | None = None
    closed_by: str = ""
    how: str = ""
    fault: str = ""
    requests: int = 0
    order_opened: int = 0
    order_closed: int = 0
    is_kept: bool = False

    @property
    def is_reused(self) -> bool:
        """Whether more than one request came on it."""
        return self.requests > 1


@attrs.define(eq=False, repr=False)
class RecordedCall:
    """One request, whatever its verb and however it ended.

    Attributes:
        transport: ``tcp`` or ``udp``.
        remote: the client's address and port.
        connection: the number of its TCP connection; 0 over UDP.
        data: the line as it came, without its LF.
        request: what it says; ``None`` where it is not a request.
        received, ended: seconds since the portal started.
        state: ``received``, ``replied``, ``faulted``, ``aborted``, ``replayed``.
        sent: the lines that answered it, as bytes; a fault may have kept or changed them.
        fault: the fault that hit it, in words; empty for none.
        whole: ``sent`` has all of them; else only what was added last.
    """

    transport: str
    remote: tuple[str, int]
    connection: int
    data: bytes
    request: Request | None
    received: float
    order_received: int
    state: str = RECEIVED
    ended: float | None = None
    # An answer may have 100,000 lines: to add one must not copy the others.
    _sent: bytearray = attrs.field(factory=bytearray, converter=bytearray)
    fault: str = ""
    order_ended: int = 0
    whole: bool = True

    def add(self, lines: bytes) -> None:
        """Note more of the answer."""
        if not self.whole:
            self._sent.clear()
        self._sent.extend(lines)

    @property
    def sent(self) -> bytes:
        """The lines that answered it."""
        return bytes(self._sent)

    @property
    def verb(self) -> str:
        """The verb; empty where it is not a request."""
        return self.request.verb.decode() if self.request else ""

    @property
    def tag(self) -> str:
        """The tag, even of a rejected line; empty where none can be read."""
        tag = self.request.tag if self.request else readable_tag(self.data)
        return (tag or b"").decode()

    @property
    def service(self) -> str:
        """The service that was called; empty where it is not a call."""
        if self.request is None or self.request.verb != b"CALL" or not self.request.args:
            return ""
        return self.request.args[0].decode("utf-8", "backslashreplace")

    @property
    def is_call(self) -> bool:
        """Whether a service was called, and not just asked again over UDP."""
        return bool(self.service) and self.state != REPLAYED

    @property
    def args(self) -> tuple[bytes, ...]:
        """The arguments: the service's for a call, otherwise the verb's."""
        if self.request is None:
            return ()
        return self.request.args[1:] if self.request.verb == b"CALL" else self.request.args

    @property
    def code(self) -> str:
        """The error code that it was answered with; empty for none."""
        sent = self._sent
        end = len(sent) - sent.endswith(b"\n")
        last = bytes(sent[sent.rfind(b"\n", 0, end) + 1 : end]).split(b" ")
        return last[2].decode("ascii", "replace") if last[1:2] == [b"ERR"] and last[2:] else ""

    def __repr__(self) -> str:
        line, sent = self.data.decode("latin-1"), self.sent.decode("latin-1")
        return f"<{self.state} over {self.transport}: {line!r}, answered {sent!r}>"


@attrs.frozen
class Entry:
    """One thing that happened.

    Attributes:
        at: seconds since the portal started.
        event: ``opened``, ``kept`` (it was open before the reset), ``closed``; or the state that a
            request came to.
    """

    order: int
    at: float
    event: str
    subject: RecordedConnection | RecordedCall
