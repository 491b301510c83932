"""Performs the steps of an answer one after the other, as faults change them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import trio

from esps_portal.exchanges.live_exchange import CLIENT, LiveExchange, SideActions
from esps_portal.faults.actions import Pause, Send, merge_sends
from esps_portal.framings.framing import Frame, Framing
from esps_portal.mock.peer_steps import AnswerStep, SendFrames, Wait
from esps_portal.net.lane import Lane
from esps_portal.net.stream_ends import IDLE, FaultEnd, FirstEnd
from esps_portal.net.watched_stream import WatchedStream
from esps_portal.peer.answerer import Answerer
from esps_portal.peer.incoming import IncomingFrame
from esps_portal.peer.units import PeerUnits

#: As the journal calls it.
PEER = "peer"


@attrs.define
class Ends:
    """How a connection ends.

    Attributes:
        first: who has closed first.
        final: what is to be done at the end; ``None``: it goes on.
        is_stalled: a fault sends nothing more to the client, not even an end.
    """

    first: FirstEnd = attrs.field(factory=FirstEnd)
    final: FaultEnd | None = None
    is_stalled: bool = False

    def end(self, how: str, client: WatchedStream) -> None:
        """End with ``close`` (FIN) or ``reset`` (RST), unless there was an end before."""
        self.first.note(PEER, "fin" if how == "close" else "rst")
        self.final = self.final or FaultEnd(how, client)


@attrs.frozen
class Performer:
    """Performs the steps of one connection.

    Attributes:
        lane: the way to the client.
        units: the journal and the faults.
        answerer: says what to do about a frame.
        framing: of the replies.
        ends: whether and how the connection ends.
    """

    client: WatchedStream
    lane: Lane
    units: PeerUnits
    answerer: Answerer
    framing: Framing
    ends: Ends

    async def send_unsolicited(self, steps: Sequence[AnswerStep]) -> None:
        """Perform steps that answer no frame: a greeting, or a push."""
        if steps:
            exchange = self.units.begin_unsolicited(trio.current_time())
            await self._perform(steps, exchange)
            self.units.end(exchange, trio.current_time())

    async def answer(self, incoming: IncomingFrame) -> None:
        """Answer a frame, unless a fault ends the connection before that."""
        steps = self.units.request(incoming.frame, incoming.exchange, incoming.came)
        if steps is not None and not await self._passes(steps, incoming.came):
            return
        payload = incoming.frame.payload
        found = self.answerer.answer(payload)
        if not isinstance(found, list):
            found = await self.answerer.result_of(payload, found)
        await self._perform(found, incoming.exchange)

    async def end(self, how: str) -> None:
        """End the connection once all that was sent has left; a stalled client sees nothing."""
        self.units.is_over = True
        if self.ends.is_stalled:
            await trio.sleep(IDLE)  # the reader notices a RST meanwhile
        await self.lane.until_clear()
        self.ends.end(how, self.client)

    async def _passes(self, steps: Iterable[SideActions], came: float) -> bool:
        """Perform what faults do before a frame is answered; return whether to answer it."""
        passes = False
        for step in steps:
            if step.to == CLIENT:
                self.lane.put(step.actions)
                continue
            for action in step.actions:
                if isinstance(action, Pause):
                    since = came if action.since_arrival else trio.current_time()
                    await trio.sleep(max(0.0, since + action.seconds - trio.current_time()))
                passes = passes or isinstance(action, Send)
        return passes and self.ends.final is None

    async def _perform(self, steps: Iterable[AnswerStep], exchange: LiveExchange) -> None:
        for step in steps:
            if self.ends.final is not None:
                return
            if isinstance(step, Wait):
                await trio.sleep(step.seconds)
            elif isinstance(step, SendFrames):
                try:
                    frames = self._frames(step)
                except Exception as error:  # noqa: BLE001 - the framing may be a test's own
                    await self._perform(self.answerer.failed_to_send(error), exchange)
                    return
                await self._send(frames, exchange)
            else:
                await self.end(step.how)

    def _frames(self, step: SendFrames) -> list[Frame]:
        if step.is_raw:
            return [Frame(frame, frame) for frame in step.frames]
        return [Frame(frame, bytes(self.framing.join(frame))) for frame in step.frames]

    async def _send(self, frames: Iterable[Frame], exchange: LiveExchange) -> None:
        """Send frames together, as faults change them."""
        found: list[SideActions] = []
        for frame in frames:
            found += self.units.reply(frame, exchange, trio.current_time())
            if any(step.ends_connection for step in found):
                break
        self.lane.put(merge_sends([action for step in found for action in step.actions]))
        await self.lane.until_room()  # the reader notices a RST meanwhile
