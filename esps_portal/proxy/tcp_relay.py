"""One TCP connection through a proxy: what one side does is done to the other.

Bytes, the FIN of each direction, and RST pass as they come, unless a fault strikes. The `Units` of
the connection decide that, and a `Lane` towards each side performs it. If one side does not read,
the other side is not read either; a fault that delays makes room for 64 KiB more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio

from esps_portal.exchanges.live_exchange import CLIENT, SERVER
from esps_portal.faults.fault import Fault
from esps_portal.net.client_handler import AcceptedClient, ClientHandler, strike_at_once
from esps_portal.net.lane import Lane
from esps_portal.net.stream import discard_input
from esps_portal.net.stream_ends import (
    CLOSE_TIMEOUT,
    IDLE,
    LINGER,
    FaultEnd,
    until_both_ended,
    until_reset,
    wait_while_stalled,
)
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.proxy.direction import Direction, Directions, Ended
from esps_portal.proxy.unit_reader import RelayObserver, UnitReader
from esps_portal.proxy.units import Units

#: As the journal calls it.
PROXY = "proxy"


class Relay(ClientHandler):
    """Passes one client's connection on to a server. `run` is its whole life.

    Args:
        connect: connects to the server; `None` where that fails, which resets the client.
        units: cuts what is sent into units, and has faults act on them.
        observer: sees what passes.
        server_name: what the journal calls the server.
        on_closed: called once it has ended.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        accepted: AcceptedClient,
        connect: Callable[[], Awaitable[WatchedStream | None]],
        units: Units,
        observer: RelayObserver,
        *,
        server_name: str = SERVER,
        on_closed: Callable[[], None],
    ) -> None:
        super().__init__(PROXY, accepted)
        self._connect = connect
        self._units = units
        self._observer = observer
        self._server_name = server_name
        self._on_closed = on_closed
        self._draining = False
        # Both directions; cancelled to end them.
        self._both = trio.CancelScope()
        # Once both sides are connected.
        self._directions: Directions | None = None
        self._fault_end: FaultEnd | None = None
        # The side that a fault has stalled: what happens at the other side is not passed on to it.
        self._stalled: WatchedStream | None = None
        self._is_deaf = False
        self._is_recorded = False

    def shut_down(self) -> None:
        """Pass nothing more to the server but FIN: it lets running calls end, and then ends."""
        self._draining = True
        if self._directions is not None:
            self._directions.up.reading.cancel()

    async def run(self) -> None:
        """Relay until both directions have ended. Raises nothing but cancellation."""
        server: WatchedStream | None = None
        both_finished = False
        try:
            with self._scope:
                if not await self._admit():
                    both_finished = True
                elif (server := await self._connect()) is not None:
                    await self._client.turns.opening.begin()
                    both_finished = await self._relay(server)
        finally:
            for side in (self._client, server):
                if side is not None and both_finished:
                    side.close(CLOSE_TIMEOUT)
                elif side is not None:
                    side.abort()
            if self._directions is not None:
                self._directions.up.lane.close()
                self._directions.down.lane.close()
            self._record_end(gracefully=both_finished and self._fault_end is None)

    def _record_end(self, *, gracefully: bool) -> None:
        """Let the journal have the end, once: before that of the sockets where a fault stalls one.

        Args:
            gracefully: both sides have sent FIN.
        """
        if self._is_recorded:
            return
        self._is_recorded = True
        now = trio.current_time()
        self._on_closed()
        self._units.closed(now, gracefully=gracefully)
        self._observer.closed(*(self._first_end.found or (PROXY, "rst")), now)

    # -- age

    @property
    def is_ending(self) -> bool:
        """Whether a fault has ended it already."""
        return self._fault_end is not None

    def strike(self, fault: Fault) -> None:
        """End at once as a fault says that strikes at an age, whatever waits."""
        if self._directions is None:
            self._early_faults.append(fault)  # both sides must be connected first
            return
        direction = self._directions.towards(fault.to)
        strike_at_once(fault, direction.sink, lambda how: self._end(how, direction))

    # -- two sides

    async def _relay(self, server: WatchedStream) -> bool:
        """Pass on what comes. Returns whether both sides end with FIN, otherwise with RST."""
        client = self._client
        with self._both:
            async with trio.open_nursery() as nursery:
                directions = self._directions = Directions(
                    up=self._direction(CLIENT, client, server, nursery),
                    down=self._direction(SERVER, server, client, nursery),
                )
                reader = UnitReader(self._units, self._observer, directions)
                if self._draining:
                    directions.up.reading.cancel()
                for fault in self._early_faults:
                    self.strike(fault)
                nursery.start_soon(self._run_direction, directions.up, reader)
                nursery.start_soon(self._run_direction, directions.down, reader)
        if self._fault_end is not None:
            return await self._fault_end.perform((client, server))
        if client.has_ended and server.has_ended:
            if self._draining or self._is_deaf:
                await discard_input(client, LINGER)  # what was not read would make the end a RST
            return True
        for side in (client, server):
            if not (side.is_broken or side.is_stuck):
                await side.until_sent()
        return False

    def _direction(
        self, sender: str, source: WatchedStream, sink: WatchedStream, nursery: trio.Nursery
    ) -> Direction:
        direction: Direction

        def on_broken() -> None:
            self._note(sink, "rst")
            self._both.cancel()

        lane = Lane(sink, nursery, lambda how: self._end(how, direction), on_broken)
        direction = Direction(sender, source, sink, lane)
        return direction

    async def _run_direction(self, direction: Direction, reader: UnitReader) -> None:
        """Pass on what one side sends; cancel both where that ends the connection."""
        ended = await self._pass_on(direction, reader)
        if not await self._other_goes_on(ended, direction):
            self._both.cancel()

    async def _pass_on(self, direction: Direction, reader: UnitReader) -> Ended:
        """Pass on what one side sends until it ends; return how that was."""
        source, sink, lane = direction.source, direction.sink, direction.lane
        try:
            # Only the client's reading is ever cancelled: by a drain, or by a fault.
            with direction.reading:
                while data := await source.receive():
                    # A fault may have ended both sides just when it was read.
                    if self._fault_end is None:
                        await reader.take(data, direction)
            if self._is_deaf and source is self._client:
                await until_both_ended(source, sink)
            reader.end(direction)
            if not lane.is_clear:
                await source.while_unbroken(lane.until_clear)
            if not (source.is_broken or lane.discards):
                sink.send_eof()
        except trio.BrokenResourceError:
            return Ended.SOURCE_BROKEN if source.is_broken else Ended.SINK_BROKEN
        return Ended.SOURCE_BROKEN if source.is_broken else Ended.FIN

    async def _other_goes_on(self, ended: Ended, direction: Direction) -> bool:
        """Record how one direction has ended; return whether the other one goes on.

        After a FIN it waits while the other one goes on, for a RST.
        """
        source, sink = direction.source, direction.sink
        if ended is Ended.SINK_BROKEN:
            self._note(sink, "rst")
            sink.is_broken = True
            if self._stalled is source:
                await wait_while_stalled(source, lambda: self._record_end(gracefully=False))
                return False
            # The other direction first passes on what the sink sent before.
            return not sink.has_ended
        if ended is Ended.FIN:
            # In a drain, reading the client was cancelled: it did not end.
            self._note(sink if self._draining and source is self._client else source, "fin")
            source.has_ended = True
            if sink.has_ended:
                if self._stalled is not None:
                    self._record_end(gracefully=True)
                if self._stalled is source:
                    await until_reset(source)
                elif self._stalled is sink:
                    await trio.sleep(IDLE)  # a RST of it is waited for already
                return False
            await source.until_broken()
            source.has_ended = False  # its FIN was passed on, and a RST came after it
        self._note(source, "rst")
        if self._stalled is sink:
            # It must not notice that. Once it sends, this is `SINK_BROKEN`, with a stalled side.
            if sink.has_ended:
                self._record_end(gracefully=False)
                await trio.sleep(IDLE)
            return not sink.has_ended
        await direction.pass_what_came_before()
        return False

    # -- ends by a fault

    def _end(self, how: str, direction: Direction) -> None:
        """End as a fault says; what comes before that on the way to the side has left."""
        side = direction.sink
        if how in ("close", "reset"):
            self._first_end.note(PROXY, "fin" if how == "close" else "rst")
            self._fault_end = self._fault_end or FaultEnd(how, side)
            if self._directions is not None:
                self._directions.up.lane.discard()
                self._directions.down.lane.discard()
            self._both.cancel()
        elif how == "half-close":
            self._first_end.note(PROXY, "fin")
            direction.lane.discard()
            with contextlib.suppress(trio.BrokenResourceError):
                side.send_eof()
        elif how == "stall":
            direction.lane.discard()
            self._stalled = side
            side.keep_alive()
        else:
            assert how == "deaf", how  # noqa: S101 - every other end is handled above
            self._is_deaf = True
            if self._directions is not None:
                self._directions.up.reading.cancel()

    def _note(self, side: WatchedStream, how: str) -> None:
        self._first_end.note(CLIENT if side is self._client else self._server_name, how)
