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
        number: from 1, in the order of acceptance.
        remote: the client's address and port.
        opened, closed: seconds since the portal started or was reset; ``None``: still open.
        is_kept: it was open before that reset, and stayed open.
        closed_by: who closed first: ``client`` or ``portal``; empty while it is open.
        how: ``fin`` or ``rst``; empty while it is open.
        fault: the fault that struck it, as text; empty for none.
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
    """One request, whatever its verb and its outcome.

    Attributes:
        transport: ``tcp`` or ``udp``.
        remote: the client's address and port.
        connection: the number of its TCP connection; 0 over UDP.
        data: the line as it came, without its LF.
        request: the parsed line; ``None`` if it is no request.
        received, ended: seconds since the portal started or was reset; ``None``: not ended.
        state: ``received``, ``replied``, ``faulted``, ``aborted``, ``replayed``.
        sent: the lines of the reply, as bytes; a fault may have dropped or changed them.
        fault: the fault that struck it, as text; empty for none.
        keeps_all_lines: ``sent`` has all lines of the reply; otherwise only the last.
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
    # A reply may have 100,000 lines: adding one must not copy the others.
    _sent: bytearray = attrs.field(factory=bytearray, converter=bytearray)
    fault: str = ""
    order_ended: int = 0
    keeps_all_lines: bool = True

    def add(self, lines: bytes) -> None:
        """Add lines of the reply."""
        if not self.keeps_all_lines:
            self._sent.clear()
        self._sent.extend(lines)

    @property
    def sent(self) -> bytes:
        """The lines of the reply."""
        return bytes(self._sent)

    @property
    def verb(self) -> str:
        """The verb; empty if it is no request."""
        return self.request.verb.decode() if self.request else ""

    @property
    def tag(self) -> str:
        """The tag, of a rejected line too; empty if there is none."""
        tag = self.request.tag if self.request else readable_tag(self.data)
        return (tag or b"").decode()

    @property
    def service(self) -> str:
        """The service that was called; empty if it is no call."""
        if self.request is None or self.request.verb != b"CALL" or not self.request.args:
            return ""
        return self.request.args[0].decode("utf-8", "backslashreplace")

    @property
    def is_call(self) -> bool:
        """Whether it is a call of a service, and no repeat of one over UDP."""
        return bool(self.service) and self.state != REPLAYED

    @property
    def args(self) -> tuple[bytes, ...]:
        """The arguments: of the service for a call, otherwise of the verb."""
        if self.request is None:
            return ()
        return self.request.args[1:] if self.request.verb == b"CALL" else self.request.args

    @property
    def code(self) -> str:
        """The error code of the reply; empty for none."""
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
        order: counts all entries of a journal.
        at: seconds since the portal started or was reset.
        event: of a connection ``opened``, ``kept`` (open before the reset) or ``closed``; of a
            request its new state.
        subject: the record of the connection or the request.
    """

    order: int
    at: float
    event: str
    subject: RecordedConnection | RecordedCall
