"""What the journal holds: a record for each connection and each request, with its outcome."""

from __future__ import annotations

import attrs

from esps_portal.protocol.escape import printable
from esps_portal.protocol.messages import Request, readable_tag

RECEIVED, REPLIED, FAULTED, ABORTED, REPLAYED, IGNORED = (
    "received",
    "replied",
    "faulted",
    "aborted",
    "replayed",
    "ignored",
)


@attrs.define(eq=False)
class RecordedConnection:
    """One TCP connection.

    Attributes:
        number: from 1, in the order of acceptance.
        remote: the client's address and port.
        opened, closed: seconds since the portal started or was reset; ``None``: still open.
        is_kept: it was open before that reset, and stayed open.
        closed_by: who closed first: ``client``, ``portal`` or ``peer``, and through a proxy
            ``server`` or ``proxy``; empty while it is open.
        how: ``fin`` or ``rst``; empty while it is open.
        fault: the fault that struck it, as text; empty for none.
        requests: how many came on it.
        overlapped: the client sent bytes while a reply was under way; see `RecordedExchange`.
        unreachable: why a proxy could not reach the upstream for it; empty: it could.
        failed_handshake: why its TLS handshake has failed; empty: it has not.
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
    overlapped: bool = False
    unreachable: str = ""
    failed_handshake: str = ""

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
        request: the parsed line; ``None`` if it is not a request.
        received, ended: seconds since the portal started or was reset; ``None``: not ended.
        state: ``received``, ``replied``, ``faulted``, ``aborted``, ``replayed`` or, over UDP,
            ``ignored``: what came gets no answer, by the rules against loops.
        sent: the lines of the reply, as bytes; a fault may have dropped or changed them.
        fault: the fault that struck it, as text; empty for none.
        keeps_all_lines: ``sent`` gets all lines of the reply; otherwise only the last.
        sent_size: bytes of all lines of the reply.
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
    sent_size: int = 0

    def add(self, lines: bytes) -> None:
        """Add lines of the reply."""
        self.sent_size += len(lines)
        if not self.keeps_all_lines:
            self._sent.clear()
        self._sent.extend(lines)

    def forget_lines(self) -> None:
        """Keep only the last lines of the reply from now on."""
        self.keeps_all_lines = False
        self._sent.clear()

    @property
    def sent(self) -> bytes:
        """The lines of the reply."""
        return bytes(self._sent)

    @property
    def left_out(self) -> int:
        """How many bytes of the reply came before ``sent`` and are no longer kept."""
        return self.sent_size - len(self._sent)

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return len(self.data) + len(self._sent)

    @property
    def verb(self) -> str:
        """The verb; empty if it is not a request."""
        return self.request.verb.decode() if self.request else ""

    @property
    def tag(self) -> str:
        """The tag, of a rejected line too; empty if there is none."""
        tag = self.request.tag if self.request else readable_tag(self.data)
        return (tag or b"").decode()

    @property
    def service(self) -> str:
        """The service that was called; empty if it is not a call."""
        name = self.request.service if self.request else None
        return name.decode("utf-8", "backslashreplace") if name else ""

    @property
    def is_call(self) -> bool:
        """Whether it is a call of a service, but not a repeat over UDP."""
        return bool(self.service) and self.state not in (REPLAYED, IGNORED)

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


#: Bytes of each side of an exchange that are kept; more are only counted.
MAX_SIDE = 65536


@attrs.define(eq=False, repr=False)
class RecordedExchange:
    """What a client sent to a server of any protocol, and what the server sent then.

    Attributes:
        transport: ``tcp`` or ``udp``.
        remote: the client's address and port.
        connection: the number of its connection; over UDP of the client's address and port.
        number: of the exchange on the connection, from 1; 0 is what the server sends first.
        started, ended: seconds since the proxy started or was reset; ``None``: not ended.
        answered: seconds, as ``started``, when the last of the reply was read; ``None``: no reply.
        delivered: seconds, as ``started``, when it was sent on, where a fault has delayed that.
        request_size, reply_size: in bytes; the first `MAX_SIDE` of each are kept.
        complete: both sides have come as a whole. Without framing that is known once the client
            sends again, or the connection ends with FIN after a byte of the reply.
        overlapped: the client sent bytes while a reply was still under way, so that which bytes
            belong to which exchange of this connection depends on time.
        fault: the faults that struck it, as text; empty for none.
        unreachable: why, over UDP, the upstream could not be reached; empty: it could.
        is_forgotten: no journal keeps it any more.
    """

    transport: str
    remote: tuple[str, int]
    connection: int
    number: int
    started: float
    order_started: int = 0
    ended: float | None = None
    order_ended: int = 0
    answered: float | None = None
    order_answered: int = 0
    delivered: float | None = None
    request_size: int = 0
    reply_size: int = 0
    complete: bool = False
    overlapped: bool = False
    fault: str = ""
    unreachable: str = ""
    is_forgotten: bool = False
    _request: bytearray = attrs.field(factory=bytearray)
    _reply: bytearray = attrs.field(factory=bytearray)

    @property
    def state(self) -> str:
        """What has come of it so far: ``received``, ``replied``, ``faulted`` or ``aborted``.

        ``replied`` from the first byte of the reply on; `complete` says whether that was all.
        """
        if self.fault:
            return FAULTED
        if self.answered is not None:
            return REPLIED
        return RECEIVED if self.ended is None else ABORTED

    @property
    def request(self) -> bytes:
        """What the client sent, as far as it has come."""
        return bytes(self._request)

    @property
    def reply(self) -> bytes:
        """What the server sent, as far as it has come; faults do not change it."""
        return bytes(self._reply)

    @property
    def kept(self) -> int:
        """How many bytes are kept."""
        return len(self._request) + len(self._reply)

    def add_request(self, data: bytes) -> int:
        """Add bytes of the client's; return how many are kept of them."""
        self.request_size += len(data)
        return _keep(self._request, data)

    def add_reply(self, data: bytes) -> int:
        """Add bytes of the server's; return how many are kept of them."""
        self.reply_size += len(data)
        return _keep(self._reply, data)

    def __repr__(self) -> str:
        return (
            f"<{self.state} over {self.transport} #{self.connection}:"
            f" '{printable(self.request)}', replied '{printable(self.reply)}'>"
        )


def _keep(kept: bytearray, data: bytes) -> int:
    room = MAX_SIDE - len(kept)
    if room <= 0:
        return 0
    kept += data[:room]
    return min(room, len(data))


@attrs.frozen
class RecordedUnit:
    """Bytes of one side of an exchange, as they were read; only sinks of a journal get it.

    Attributes:
        exchange: the exchange that they belong to.
        sender: who sent them: ``client`` or ``server``.
        continues: more bytes of the same unit follow.
    """

    exchange: RecordedExchange
    sender: str
    data: bytes
    continues: bool = False


Subject = RecordedConnection | RecordedCall | RecordedExchange | RecordedUnit


@attrs.frozen
class Entry:
    """One thing that happened.

    Attributes:
        order: counts all entries of a journal.
        at: seconds since the portal started or was reset.
        event: of a connection ``opened``, ``kept`` (open before the reset) or ``closed``; of a
            request or an exchange its new state; ``unit``: bytes of an exchange.
        subject: the record of the connection, the request or the exchange, or the bytes.
    """

    order: int
    at: float
    event: str
    subject: Subject
