"""One TCP connection through a proxy: whatever one side does is done to the other.

Bytes, the FIN of each direction, and RST pass as they come, unless a fault says otherwise: the
`Units` of the connection decide that, and a `Lane` for each side performs it. Where one side does
not read, the other is not read either; a fault that delays makes room for 64 KiB more.
"""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from esps_portal.faults.actions import End, Send
from esps_portal.faults.effects import Piece, effect_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.target import FaultTarget
from esps_portal.proxy.conversation import CLIENT, SERVER, Step, Units
from esps_portal.proxy.endpoint import Endpoint
from esps_portal.proxy.lane import Lane

# Seconds for which a side's input is discarded after FIN, so that no RST overtakes the last bytes
# (default of `Limits.linger`).
_LINGER = 1.0
# Seconds for which the kernel goes on sending what an end has not acknowledged: the default of
# `Limits.stall`.
_CLOSE_TIMEOUT = 30.0
# Seconds for which a side that a fault keeps in the dark is kept open once nothing else happens:
# the default of `Limits.idle`.
_IDLE = 300.0


class RelayObserver(Protocol):
    """Sees what passes; it changes nothing, waits for nothing and raises nothing."""

    def from_client(self, data: bytes, now: float) -> None:
        """See what the client has sent."""

    def from_server(self, data: bytes, now: float) -> None:
        """See what the server has sent."""

    def closed(self, by: str, how: str, now: float) -> None:
        """See the end: who closed first, and how."""


class _Ended(enum.Enum):
    """How one direction has ended."""

    FIN = "the source has sent FIN, and it was passed on"
    SOURCE_BROKEN = "the source has reset the connection"
    SINK_BROKEN = "the sink cannot be sent to"


@attrs.frozen
class _FaultEnd:
    """A fault ends both sides: ``close`` (FIN) or ``reset`` (RST), first the side that it names."""

    how: str
    side: Endpoint


@attrs.define(eq=False)
class _Direction:
    """One of the two directions, as long as both sides are connected.

    Attributes:
        lane: to the sink.
        reading: cancelled to read the source no more.
    """

    source: Endpoint
    sink: Endpoint
    lane: Lane
    reading: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Relay:
    """Passes one client's connection on to a server. `run` is its whole life.

    Args:
        connect: connects to the server; `None` where that fails, which resets the client.
        units: cuts what is said into units, and has faults act on them.
        observer: sees what passes.
        server_name: what the journal calls the server.
        on_closed: called once it has ended.
        as_aged: returns the connection, at an age in seconds, as faults select it.
        is_refused: a fault refuses the connection before the server is dialled.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        client: Endpoint,
        connect: Callable[[], Awaitable[Endpoint | None]],
        units: Units,
        observer: RelayObserver,
        *,
        is_refused: bool = False,
        server_name: str = SERVER,
        as_aged: Callable[[float], FaultTarget],
        on_closed: Callable[[], None],
    ) -> None:
        self._client = client
        self._connect = connect
        self._units = units
        self._observer = observer
        self._is_refused = is_refused
        self._server_name = server_name
        self._as_aged = as_aged
        self._on_closed = on_closed
        #: When it was accepted; seconds on trio's clock.
        self.opened: float = trio.current_time()
        self._due: list[Fault] = []
        self._scope = trio.CancelScope()
        self._draining = False
        self._both = trio.CancelScope()
        self._up: _Direction | None = None
        self._down: _Direction | None = None
        self._fault_end: _FaultEnd | None = None
        # A fault keeps a side in the dark: what happens at the other is not passed on to it.
        self._stalled: Endpoint | None = None
        self._is_deaf = False
        # Something of the client's waits that was sent while a reply was under way.
        self._is_client_early = False
        # Who closed first, and how.
        self._first: tuple[str, str] | None = None

    # -- what a `ConnectionHandler` has

    @property
    def deadline(self) -> float:
        """Never: idle and stalled peers are the server's to end."""
        return math.inf

    def expire(self) -> None:
        """Nothing: there is no deadline."""

    def abort(self) -> None:
        """End at once, with RST in both directions."""
        self._scope.cancel()

    def sever(self) -> None:
        """Send RST to the client from another thread, for a loop that is stuck."""
        self._client.sever()

    @property
    def is_idle(self) -> bool:
        """Never: only the server knows."""
        return False

    def begin_anew(self) -> None:
        """Nothing: the observer goes on."""

    def shut_down(self) -> None:
        """Pass nothing more to the server but FIN: it lets running calls end, and then ends."""
        self._draining = True
        if self._up is not None:
            self._up.reading.cancel()

    async def run(self) -> None:
        """Relay until both directions have ended. Raises nothing but cancellation."""
        server: Endpoint | None = None
        both_finished = False
        try:
            with self._scope:
                if self._is_refused:
                    self._first = ("proxy", "fin")
                    await _end_with_fin(self._client)
                    both_finished = True
                elif (server := await self._connect()) is not None:
                    both_finished = await self._relay(server)
        finally:
            for side in (self._client, server):
                if side is not None and both_finished:
                    side.close(_CLOSE_TIMEOUT)
                elif side is not None:
                    side.abort()
            now = trio.current_time()
            self._on_closed()
            self._units.closed(now, gracefully=both_finished and self._fault_end is None)
            self._observer.closed(*(self._first or (self._server_name, "rst")), now)

    # -- age

    @property
    def is_ending(self) -> bool:
        """Whether a fault has ended it already."""
        return self._fault_end is not None

    def as_aged(self, age: float) -> FaultTarget:
        """Return it as faults select it that strike at an age."""
        return self._as_aged(age)

    def strike(self, fault: Fault) -> None:
        """End at once as a fault says that strikes at an age, whatever waits."""
        if self._down is None or self._up is None:
            self._due.append(fault)  # both sides must be connected first
            return
        direction = self._down if fault.to == CLIENT else self._up
        for action in effect_of(fault).feed(Piece(b"")):
            if isinstance(action, Send):
                with contextlib.suppress(trio.BrokenResourceError):
                    direction.sink.send_now(action.data)
            elif isinstance(action, End):
                self._end(action.how, direction)

    # -- two sides

    async def _relay(self, server: Endpoint) -> bool:
        """Pass on what comes. Returns whether both sides end with FIN, otherwise with RST."""
        client = self._client
        with self._both:
            async with trio.open_nursery() as nursery:
                self._up = self._direction(client, server, nursery)
                self._down = self._direction(server, client, nursery)
                if self._draining:
                    self._up.reading.cancel()
                for fault in self._due:
                    self.strike(fault)
                nursery.start_soon(self._run_direction, self._up)
                nursery.start_soon(self._run_direction, self._down)
        if self._fault_end is not None:
            return await self._end_for_fault(self._fault_end)
        if client.has_ended and server.has_ended:
            if self._draining:
                await _discard(client)
            return True
        for side in (client, server):
            if not (side.is_broken or side.is_stuck):
                await side.until_sent()
        return False

    def _direction(self, source: Endpoint, sink: Endpoint, nursery: trio.Nursery) -> _Direction:
        direction: _Direction

        def on_broken() -> None:
            self._note(sink, "rst")
            self._both.cancel()

        lane = Lane(sink, nursery, lambda how: self._end(how, direction), on_broken)
        direction = _Direction(source, sink, lane)
        return direction

    async def _run_direction(self, direction: _Direction) -> None:
        """Pass on what one side sends; cancel both where that ends the connection."""
        ended = await self._pass_on(direction)
        if not await self._other_goes_on(ended, direction):
            self._both.cancel()

    async def _pass_on(self, direction: _Direction) -> _Ended:
        """Pass on what one side sends until it ends; return how that was."""
        source, sink, lane = direction.source, direction.sink, direction.lane
        side = CLIENT if source is self._client else SERVER
        try:
            # Only the client's reading is ever cancelled: by a drain, or by a fault.
            with direction.reading:
                while data := await source.receive():
                    await self._take(side, data, direction)
            if self._is_deaf and source is self._client:
                await self._until_reset(source)
            now = trio.current_time()
            for step in self._units.ended(side, now):
                self._lane(step.to).put(step.actions)
            if not lane.is_clear:
                await source.while_unbroken(lane.until_clear)
            if not (source.is_broken or lane.discards):
                sink.send_eof()
        except trio.BrokenResourceError:
            return _Ended.SOURCE_BROKEN if source.is_broken else _Ended.SINK_BROKEN
        return _Ended.SOURCE_BROKEN if source.is_broken else _Ended.FIN

    async def _take(self, side: str, data: bytes, direction: _Direction) -> None:
        """Take what one side has said, and pass on what its units make of it."""
        if self._fault_end is not None:
            return  # it was read in the moment in which a fault has ended the connection
        now = trio.current_time()
        if side == CLIENT:
            is_early = self._read_server_first(now) or self._is_client_early
            self._is_client_early = False
            self._observer.from_client(data, now)
            steps = self._units.from_client(data, now, is_early=is_early)
        else:
            # It has been sent before the client could see these bytes.
            self._is_client_early = self._is_client_early or self._client.has_input()
            self._observer.from_server(data, now)
            steps = self._units.from_server(data, now)
        if steps is None:
            await direction.lane.send(data, direction.source)
            return
        for step in steps:
            lane = self._lane(step.to)
            if lane is direction.lane:
                await lane.perform(step.actions, direction.source)
            else:
                lane.put(step.actions)

    def _read_server_first(self, now: float) -> bool:
        """Take what the server has said before the client's bytes, where both have come.

        Returns whether a reply was under way: the client has not waited for its end.
        """
        down = self._down
        assert down is not None  # noqa: S101 - the client is read once both are connected
        if not down.lane.is_clear:
            return not down.lane.discards
        try:
            data = down.source.receive_now()
        except trio.BrokenResourceError:
            return False  # its own task meets the same
        if not data:
            return False
        self._observer.from_server(data, now)
        steps = self._units.from_server(data, now)
        for step in [Step(CLIENT, [Send(data)])] if steps is None else steps:
            self._lane(step.to).put(step.actions)
        return True

    def _lane(self, to: str) -> Lane:
        direction = self._down if to == CLIENT else self._up
        assert direction is not None  # noqa: S101 - bytes come once both sides are connected
        return direction.lane

    async def _other_goes_on(self, ended: _Ended, direction: _Direction) -> bool:
        """Note how one direction has ended; return whether the other one goes on.

        After a FIN it waits while the other one goes on, for a RST.
        """
        source, sink = direction.source, direction.sink
        if ended is _Ended.SINK_BROKEN:
            self._note(sink, "rst")
            sink.is_broken = True
            if self._stalled is source:
                await self._keep_in_the_dark(source)
                return False
            # The other direction first passes on what the sink sent before.
            return not sink.has_ended
        if ended is _Ended.FIN:
            # In a drain it was not the client that ended.
            self._note(sink if self._draining and source is self._client else source, "fin")
            source.has_ended = True
            if sink.has_ended:
                if self._stalled is source:
                    await self._until_reset(source)
                elif self._stalled is sink:
                    await trio.sleep(_IDLE)  # a RST of it is waited for already
                return False
            await source.until_broken()
            source.has_ended = False  # its FIN was passed on, and a RST came after it
        self._note(source, "rst")
        if self._stalled is sink:
            # It is not to learn of that. Once it sends it meets `SINK_BROKEN`, in the dark.
            if sink.has_ended:
                await trio.sleep(_IDLE)
            return not sink.has_ended
        await self._pass_what_came_before(direction)
        return False

    async def _pass_what_came_before(self, direction: _Direction) -> None:
        """Let what a side had sent before its RST arrive first, within a bound."""
        if not (direction.lane.is_clear or direction.lane.discards or direction.sink.is_stuck):
            with (
                contextlib.suppress(trio.BrokenResourceError),
                trio.move_on_after(_CLOSE_TIMEOUT),
            ):
                await direction.lane.until_clear()

    # -- ends by a fault

    def _end(self, how: str, direction: _Direction) -> None:
        """End as a fault says; what comes before that on the way to the side has left."""
        side = direction.sink
        if how in ("close", "reset"):
            self._note_fault("fin" if how == "close" else "rst")
            self._fault_end = self._fault_end or _FaultEnd(how, side)
            for each in (CLIENT, SERVER):
                self._lane(each).discard()
            self._both.cancel()
        elif how == "half-close":
            self._note_fault("fin")
            direction.lane.discard()
            with contextlib.suppress(trio.BrokenResourceError):
                side.send_eof()
        elif how == "stall":
            direction.lane.discard()
            self._stalled = side
        else:
            assert how == "deaf", how  # noqa: S101 - every other end is handled above
            self._is_deaf = True
            if self._up is not None:
                self._up.reading.cancel()

    async def _end_for_fault(self, end: _FaultEnd) -> bool:
        """End both sides; return whether that was with FIN."""
        server = self._up.sink if self._up is not None else self._client
        sides = (self._client, server)
        if end.how == "reset":
            await end.side.until_sent(_CLOSE_TIMEOUT)
            return False
        async with trio.open_nursery() as nursery:
            for side in sides:
                nursery.start_soon(_end_with_fin, side)
        return True

    async def _keep_in_the_dark(self, stalled: Endpoint) -> None:
        """Keep a stalled side open though the other has gone, until it ends itself, in a bound."""
        with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(_IDLE):
            while await stalled.receive():
                pass
            await stalled.until_broken()

    async def _until_reset(self, side: Endpoint) -> None:
        """Wait for a RST of a side that sees nothing more, within a bound."""
        with trio.move_on_after(_IDLE):
            await side.until_broken()

    # -- who was first

    def _note(self, side: Endpoint, how: str) -> None:
        if self._first is None:
            name = CLIENT if side is self._client else self._server_name
            self._first = name, how

    def _note_fault(self, how: str) -> None:
        if self._first is None:
            self._first = "proxy", how


async def _end_with_fin(side: Endpoint) -> None:
    """Send FIN, and discard what still comes, within a bound."""
    with contextlib.suppress(trio.BrokenResourceError):
        side.send_eof()
        await _discard(side)


async def _discard(side: Endpoint) -> None:
    """Discard what a side still sends, until its FIN, within a bound."""
    with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(_LINGER):
        while await side.receive():
            pass
