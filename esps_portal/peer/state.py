"""The state of a peer that a test sees: its script, its faults, its journal, and leftover bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from esps_portal.exchanges.tracker import ExchangeTracker
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.fault_types import BOTH, TCP, UDP
from esps_portal.faults.place import Place
from esps_portal.framings.framing import Framing, FramingError, framing_name
from esps_portal.framings.recorded_units import RecordedUnits, RecordedUnitSplitter
from esps_portal.framings.splitter import FrameSplitter
from esps_portal.framings.transport_ends import Datagrams, datagrams
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.frame_replay import FrameReplay
from esps_portal.mock.frame_script import FrameScript
from esps_portal.mock.peer_steps import SendFrames
from esps_portal.peer.units import Splitter
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The first problems of each kind are enough for a report.
_MAX_KEPT = 20


@attrs.define(eq=False)
class PeerState:
    """What a peer is to do to its connections, and what has happened.

    Attributes:
        framing: how a stream is cut into frames; `datagrams`: there is no stream, only UDP.
        greeting: the frames that it sends first on each connection.
        udp: it is served over UDP too, on the same number.
        issues_certificates: over TLS it has certificates of its own, also with problems.
        script: what it answers.
        pushers: send unsolicited frames on an open TCP connection, by its record.
        clients: how many UDP clients there have been.
        leftovers: texts about bytes at the end of a connection that are not a whole frame.

    Raises:
        FramingError: a greeting cannot be sent with this framing, or over UDP alone.
    """

    framing: Framing
    greeting: tuple[bytes, ...] = ()
    udp: bool = False
    issues_certificates: bool = False
    faults: FaultRegistry = attrs.field(init=False)
    journal: Journal = attrs.field(factory=Journal)
    script: FrameScript = attrs.field(factory=FrameScript)
    pushers: dict[RecordedConnection, Callable[[Sequence[SendFrames]], None]] = attrs.field(
        factory=dict
    )
    clients: int = 0
    leftovers: list[str] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        if self.greeting and self.transports == UDP:
            raise FramingError("a greeting is for connections: over UDP the client sends first")
        for frame in self.greeting:
            self.framing.join(frame)
        self.faults = FaultRegistry(self._place())

    @property
    def transports(self) -> frozenset[str]:
        """What it is served over."""
        if isinstance(self.framing, Datagrams):
            return UDP
        return BOTH if self.udp else TCP

    @property
    def framings(self) -> tuple[Framing, ...]:
        """What a frame must be, over each transport; a datagram may be anything."""
        return (self.framing, datagrams()) if self.transports == BOTH else (self.framing,)

    @property
    def exchanges(self) -> Journal:
        """The journal of exchanges."""
        return self.journal

    @classmethod
    def replaying(
        cls,
        replay: FrameReplay,
        journal: Journal | None = None,
        *,
        issues_certificates: bool = False,
    ) -> PeerState:
        """Return the state of a peer that replays a recording."""
        state = cls(
            replay.framing,
            udp=replay.udp and not isinstance(replay.framing, Datagrams),
            issues_certificates=issues_certificates,
            journal=journal or Journal(),
        )
        state.script.lasting.update(replay.stubs)
        state.script.greeting = replay.greeting
        return state

    def new_splitter(self) -> Splitter:
        """Return what cuts a stream into frames."""
        if isinstance(self.framing, RecordedUnits):
            return RecordedUnitSplitter(self.framing)
        return FrameSplitter(self.framing)

    def new_tracker(
        self, connection: RecordedConnection, now: float, transport: str = "tcp"
    ) -> ExchangeTracker:
        """Return the tracker of a new connection, or of a new client over UDP."""
        return ExchangeTracker(self.faults, self.journal, connection, now, transport=transport)

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""
        return self.journal.has_news

    @property
    def is_busy(self) -> bool:
        """Never: a peer reads whatever it waits for."""
        return False

    def push(self, frames: SendFrames, connection: int | None) -> int:
        """Send unsolicited frames on each open TCP connection, or on one; return on how many.

        Raises:
            FramingError: they are none.
            StubError: there is no such connection.
        """
        if self.transports == UDP:
            raise StubError("over UDP the client sends first: there is no connection to push on")
        for frame in frames.frames:
            self.framing.join(frame)
        to = [push for each, push in self.pushers.items() if connection in (None, each.number)]
        if not to:
            raise StubError(_not_open(connection))
        for push in to:
            push([frames])
        return len(to)

    def start_clock(self, now: float) -> None:
        """Count the times of the journal from now."""
        self.journal.start = now

    def _place(self) -> Place:
        framing = self.framing
        is_unterminated = not hasattr(framing, "terminator")
        text = f"framing {framing_name(framing)!r}"
        return Place(
            name="peer",
            transports=self.transports,
            has_server=False,
            has_frames=True,
            issues_certificates=self.issues_certificates,
            unterminated={"client": text} if is_unterminated else {},
        )

    def clear(self) -> None:
        """Forget all of it but what the peer was started with."""
        self.faults.clear()
        self.journal.clear()
        self.script.clear()
        self.clients = 0
        self.leftovers.clear()

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
        self.journal.end()
        self.faults.waiters.end()

    def note_leftover(self, text: str) -> None:
        """Record bytes at the end of a connection that are not a whole frame."""
        if len(self.leftovers) < _MAX_KEPT:
            self.leftovers.append(text)


def _not_open(connection: int | None) -> str:
    if connection is None:
        return "no connection is open: wait for one first, by wait_for_connections() or POST /wait"
    return f"connection {connection} is not open"
