"""One TCP connection to a peer: frames are read, answered one after the other, and recorded.

One task reads, so that a FIN or RST is noticed and the journal is complete while an answer takes
its time. Another task answers. A `Lane` sends the answers as faults change them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

import trio

from esps_portal.exchanges.live_exchange import CLIENT, LiveExchange
from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import Frame, Framing
from esps_portal.mock.peer_steps import AnswerStep, SendFrames
from esps_portal.net.client_handler import AcceptedClient, ClientHandler, strike_at_once
from esps_portal.net.lane import Lane
from esps_portal.net.stream_ends import CLOSE_TIMEOUT, IDLE
from esps_portal.peer.answerer import Answerer
from esps_portal.peer.incoming import Incoming, IncomingFrame, Push
from esps_portal.peer.performer import PEER, Ends, Performer
from esps_portal.peer.units import PeerUnits

# Bytes that are cut into frames before others get their turn: as many frames, at worst. That many
# take 3 ms here, with their entries in the journal; a read of 16 KiB would take 200 ms.
_AT_ONCE = 256
# Seconds of reading, or answering, in a row (design: a turn is 1 ms at most).
_TURN_SECONDS = 0.001


class PeerHandler(ClientHandler):
    """Serves one client's connection. `run` is its whole life.

    Args:
        units: the journal and the faults.
        answerer: says what to do about a frame.
        framing: of the replies.
        greeting: what is done first.
        on_closed: called once it has ended: who closed first, how, and when.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        accepted: AcceptedClient,
        units: PeerUnits,
        answerer: Answerer,
        framing: Framing,
        *,
        greeting: Iterable[AnswerStep] = (),
        on_closed: Callable[[str, str, float], None],
    ) -> None:
        super().__init__(PEER, accepted)
        self._units = units
        self._answerer = answerer
        self._framing = framing
        self._on_closed = on_closed
        # Now, in the order of accepting: tasks begin in any order.
        self._opening = [] if accepted.is_refused else [*greeting, *answerer.opening()]
        self._serving = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._incoming = Incoming()
        self._lane: Lane | None = None
        self._ends = Ends(self._first_end)
        self._is_deaf = False
        self._is_recorded = False

    def shut_down(self) -> None:
        """Read nothing more; what has come is answered, and FIN follows."""
        self._first_end.note(PEER, "fin")
        self._reading.cancel()

    async def run(self) -> None:
        """Serve until the connection has ended. Raises nothing but cancellation."""
        is_graceful = False
        try:
            with self._scope:
                is_graceful = not await self._admit() or await self._serve()
        finally:
            if is_graceful:
                self._client.close(CLOSE_TIMEOUT)
            else:
                self._client.abort()
            if self._lane is not None:
                self._lane.close()
            self._record_end()

    def _record_end(self) -> None:
        """Let the journal have the end, once: before that of the socket where a fault stalls it."""
        if self._is_recorded:
            return
        self._is_recorded = True
        now = trio.current_time()
        self._units.closed(now)
        self._answerer.closed()
        self._on_closed(*(self._first_end.found or (PEER, "rst")), now)

    def push(self, steps: Iterable[SendFrames]) -> None:
        """Send unsolicited frames, after the answers to the frames that have come."""
        self._incoming.put(Push(tuple(steps)))

    # -- age

    @property
    def is_ending(self) -> bool:
        """Whether it ends already."""
        return self._ends.final is not None

    def strike(self, fault: Fault) -> None:
        """End at once as a fault says that strikes at an age, whatever waits."""
        if self._lane is None:
            self._early_faults.append(fault)
            return
        strike_at_once(fault, self._client, self._end)

    # -- its two tasks

    async def _serve(self) -> bool:
        """Read and answer; return whether the connection ends with FIN, otherwise with RST."""
        with self._serving:
            async with trio.open_nursery() as nursery:
                self._lane = Lane(self._client, nursery, self._end, self._note_broken)
                for fault in self._early_faults:
                    self.strike(fault)
                nursery.start_soon(self._read)
                try:
                    await self._answer_all(self._lane)
                except trio.BrokenResourceError:
                    self._note_broken()
                self._serving.cancel()
        if self._ends.final is not None:
            return await self._ends.final.perform((self._client,))
        return not self._client.is_broken

    async def _read(self) -> None:
        """Read frames until the client ends, or is not to be read any more."""
        try:
            with self._reading:
                await self._read_frames()
            if self._is_deaf:
                with trio.move_on_after(IDLE):
                    await self._client.until_fin()
                if not self._client.is_broken:
                    self._first_end.note(CLIENT, "fin")
            self._incoming.end()
            await self._client.until_broken()
        except trio.BrokenResourceError:
            self._client.is_broken = True
        self._note_broken()

    async def _read_frames(self) -> None:
        while data := await self._receive():
            since = trio.current_time()
            # A read may have thousands of frames: others get their turn between them.
            for start in range(0, len(data), _AT_ONCE):
                if trio.current_time() - since > _TURN_SECONDS:
                    # What was read is answered, even if nothing more is to be read.
                    with trio.CancelScope(shield=True):
                        await self._client.turns.work.next()
                    since = trio.current_time()
                if not self._take(data[start : start + _AT_ONCE]):
                    self._first_end.note(PEER, "fin")
                    return
                if not self._incoming.has_room:
                    await self._client.while_unbroken(self._incoming.until_room)
        self._first_end.note(CLIENT, "fin")
        self._client.has_ended = True
        now = trio.current_time()
        self._put(self._units.finish(now), now)

    def _take(self, data: bytes) -> bool:
        """Take what the client has sent; return whether more frames may come."""
        now = trio.current_time()
        frames, may_go_on = self._units.read(data, now)
        self._put(frames, now)
        return may_go_on

    async def _receive(self) -> bytes:
        """Return what comes next; meanwhile a frame that may be the start of another one ends."""
        while True:
            with trio.move_on_after(self._units.flush_after):
                return await self._client.receive()
            now = trio.current_time()
            self._put(self._units.flush(now), now)

    def _put(self, frames: Iterable[tuple[Frame, LiveExchange]], now: float) -> None:
        for frame, exchange in frames:
            self._incoming.put(IncomingFrame(frame, exchange, now))

    async def _answer_all(self, lane: Lane) -> None:
        """Send what comes first, then answer frames until there are no more, or an end."""
        performer = Performer(
            self._client, lane, self._units, self._answerer, self._framing, self._ends
        )
        await performer.send_unsolicited(self._opening)
        since = trio.current_time()
        while not self.is_ending and (incoming := await self._incoming.take()) is not None:
            if self._incoming.has_waited:
                since = trio.current_time()
            if isinstance(incoming, Push):
                await performer.send_unsolicited(incoming.steps)
                now = trio.current_time()
            else:
                if not self._units.is_deaf:
                    await performer.answer(incoming)
                now = trio.current_time()
                self._units.end(incoming.exchange, now)
            if now - since > _TURN_SECONDS:
                await self._client.turns.work.next()
                since = trio.current_time()
        if not self.is_ending:
            if self._ends.is_stalled and self._client.has_ended:
                self._record_end()  # only the kernel of the client still knows of it
            await performer.end("close")

    # -- ends

    def _end(self, how: str) -> None:
        """End as a fault says; what comes before that has left."""
        if how in ("close", "reset"):
            self._ends.end(how, self._client)
            self._discard()
            self._serving.cancel()
        elif how == "half-close":
            self._first_end.note(PEER, "fin")
            self._discard()
            with contextlib.suppress(trio.BrokenResourceError):
                self._client.send_eof()
        elif how == "stall":
            self._discard()
            self._ends.is_stalled = True
            self._client.keep_alive()
        else:
            assert how == "deaf", how  # noqa: S101 - every other end is handled above
            self._is_deaf = True
            self._reading.cancel()

    def _discard(self) -> None:
        if self._lane is not None:
            self._lane.discard()

    def _note_broken(self) -> None:
        """End: the client has reset the connection."""
        self._first_end.note(CLIENT, "rst")
        self._client.is_broken = True
        self._serving.cancel()
