"""The state of a proxy that a test sees: its faults, its journal, and errors of the upstream."""

from __future__ import annotations

import attrs

from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.place import Place
from esps_portal.framings.delimiters import lines
from esps_portal.framings.framing import Framing, framing_name
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection
from esps_portal.net.dial_order import DialOrder
from esps_portal.net.turns import Turns
from esps_portal.protocol.messages import readable_request
from esps_portal.proxy.upstream import Upstream

# The first problems of each kind are enough for a report.
_MAX_KEPT = 20


@attrs.define(eq=False)
class ProxyState:
    """What a proxy is to do to its connections, and what has happened.

    Attributes:
        upstream: what it stands in front of.
        framing: of what clients send; ``None``: without, what passes is cut into exchanges.
        reply_framing: of what the server sends; ``None``: the same as ``framing``.
        issues_certificates: over TLS it has certificates of its own, also with problems.
        unreachable: each reason why the upstream could not be reached, and how often.
        is_upstream_needed: whether that is noted: once a test is over, its upstream may have ended.
        connecting: how many connects to the upstream are under way.
        exchanges: the journal of exchanges; in front of a portal, `journal` has calls instead.
        clients: how many UDP clients there have been.
        dialling: the order in which connects to the upstream begin.
        handshakes: a connection to the upstream waits for its turn before each step of its TLS
            handshake.
        leftovers: texts about bytes at the end of a connection that are not a whole frame.
    """

    upstream: Upstream
    framing: Framing | None = None
    reply_framing: Framing | None = None
    issues_certificates: bool = False
    faults: FaultRegistry = attrs.field(init=False)
    journal: Journal = attrs.field(factory=Journal)
    exchanges: Journal = attrs.field(init=False)
    clients: int = 0
    unreachable: dict[str, int] = attrs.field(factory=dict)
    is_upstream_needed: bool = True
    connecting: int = 0
    dialling: DialOrder = attrs.field(factory=DialOrder)
    handshakes: Turns = attrs.field(factory=Turns)
    leftovers: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        # The exchanges of a portal are its calls, which the tap of the connection notes.
        self.exchanges = Journal() if self.upstream.is_esps else self.journal
        if self.framing is None and self.upstream.is_esps:
            self.framing = lines()
        if self.reply_framing is None:
            self.reply_framing = self.framing
        self.faults = FaultRegistry(self._place())

    @property
    def journals(self) -> list[Journal]:
        """The journal, and that of exchanges where it is another one."""
        return [self.journal] if self.exchanges is self.journal else [self.journal, self.exchanges]

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return any(journal.has_news for journal in self.journals)

    @property
    def is_busy(self) -> bool:
        """Whether a connect to the upstream goes on: only then are its client's bytes read."""
        return self.connecting > 0

    def new_tracker(
        self, connection: RecordedConnection, now: float, transport: str = "tcp"
    ) -> ExchangeTracker:
        """Return the tracker of a new connection, or of a new client over UDP."""
        service_of = _service_of if self.upstream.is_esps else None
        return ExchangeTracker(
            self.faults,
            self.exchanges,
            connection,
            now,
            transport=transport,
            service_of=service_of,
        )

    def start_clock(self, now: float) -> None:
        """Count the times of all journals from now."""
        for journal in self.journals:
            journal.start = now

    def _place(self) -> Place:
        framing, reply_framing = self.framing, self.reply_framing
        key = "framing" if reply_framing is framing else "reply_framing"
        by_side = {"server": ("framing", framing), "client": (key, reply_framing)}
        return Place(
            name="proxy",
            transports=self.upstream.transports,
            is_esps=self.upstream.is_esps,
            issues_certificates=self.issues_certificates,
            has_frames=framing is not None and reply_framing is not None,
            unterminated={
                side: f"{name} {framing_name(each)!r}"
                for side, (name, each) in by_side.items()
                if each is not None and not hasattr(each, "terminator")
            },
        )

    def clear(self) -> None:
        """Forget which faults are placed, and what has happened."""
        self.faults.clear()
        self.journal.clear()
        self.exchanges.clear()
        self.clients = 0
        self.unreachable.clear()
        self.is_upstream_needed = True
        self.leftovers.clear()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self.journal.end()
        self.exchanges.end()
        self.faults.waiters.end()

    def note_unreachable(self, reason: str) -> None:
        """Note that the upstream could not be reached, and why."""
        if not self.is_upstream_needed:
            return
        if reason in self.unreachable or len(self.unreachable) < _MAX_KEPT:
            self.unreachable[reason] = self.unreachable.get(reason, 0) + 1

    def note_leftover(self, text: str) -> None:
        """Record bytes at the end of a connection that are not a whole frame."""
        if len(self.leftovers) < _MAX_KEPT:
            self.leftovers.append(text)


def _service_of(line: bytes) -> bytes | None:
    """Return the service that a line of ESPS/1 calls; ``None``: it calls none."""
    request = readable_request(line.rstrip(b"\n"))
    return request.service if request else None
