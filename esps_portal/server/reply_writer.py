"""Writes the lines of a connection, as they are or as a fault changes them; none after its end.

It also holds the reason for which the connection ends, because that decides whether a line may
still be written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import trio

from esps_portal.faults.actions import Action, End, Hold, Send
from esps_portal.faults.lazy_plan import plan_of
from esps_portal.net.fault_writer import FaultWriter
from esps_portal.net.stream import Stream
from esps_portal.net.writer import Writer, nothing
from esps_portal.server.endings import ENDINGS, FAULT_ENDS, Ending, EndReason
from esps_portal.server.observer import PortalExchange

if TYPE_CHECKING:
    from esps_portal.faults.connection_faults import ConnectionFaults
    from esps_portal.faults.plan_part import PlanPart


class ReplyWriter:
    """Writes the lines of one connection.

    Args:
        on_end: called with the reason for the end, and with each that replaces it.
        on_wait: see `Writer`.

    Attributes:
        writer: lines may be added to `Writer.outgoing` directly while `is_busy` is false.
        end: why the connection ends; `None`: it is open, or ends as the client wants
            (`EndReason.FINISHED`).
        is_deaf: whether a fault makes the server read nothing more of the client.
        last_delayed: when a fault was last performed; seconds on trio's clock.
    """

    __slots__ = (
        "_connection_faults",
        "_faults",
        "_nursery",
        "_on_end",
        "end",
        "is_deaf",
        "last_delayed",
        "writer",
    )

    def __init__(
        self,
        stream: Stream,
        on_end: Callable[[EndReason], None],
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.writer: Writer = Writer(stream, on_wait)
        self.end: EndReason | None = None
        self.last_delayed: float = self.writer.progress
        self._on_end = on_end
        # Made when the first fault strikes.
        self._faults: FaultWriter | None = None
        self._connection_faults: ConnectionFaults | None = None
        self._nursery: trio.Nursery
        self.is_deaf: bool = False

    def begin_faults(self, nursery: trio.Nursery, faults: ConnectionFaults) -> None:
        """Have faults strike what is sent from now on, for which all of it is one unit.

        Args:
            nursery: where held lines wait.
        """
        self._nursery = nursery
        self._faults = None  # the one before was for another nursery, where nothing waits any more
        self._connection_faults = faults

    # -- lines

    def append(self, line: bytes) -> None:
        """Add a line at once, after any line that is partly sent or held back."""
        self.release()
        parts = self._parts_of_connection()
        if parts:
            self.perform_now(plan_of(parts).line(line, final=True))
        else:
            self.writer.outgoing += line

    async def write(
        self, line: bytes, exchange: PortalExchange, *, final: bool, must_send: bool
    ) -> None:
        """Add a line of a reply, or perform its fault plan; nothing after the end.

        Args:
            final: it is the last line of the reply.
            must_send: see `FaultWriter.perform`.

        Raises:
            trio.BrokenResourceError: the client has reset the connection.
        """
        if self.is_final:
            return
        parts = self._parts_of_connection()
        if parts and exchange.plan is None:
            exchange.plan = plan_of((), exchange.record)
        if exchange.plan is not None:
            exchange.plan.include(parts)
            await self.perform(exchange.plan.line(line, final=final), must_send=must_send)
        elif self._faults is not None and self._faults.is_busy:
            await self.perform([Send(line)], must_send=must_send)
        else:
            self.writer.outgoing += line

    async def perform(self, actions: Iterable[Action], *, must_send: bool) -> None:
        """Perform the actions of a fault; see `FaultWriter.perform`."""
        assert self._faults is not None  # noqa: S101 - `expect_fault` came first
        try:
            await self._faults.perform(actions, must_send=must_send)
        finally:
            self.last_delayed = trio.current_time()

    def perform_now(self, actions: Iterable[Action]) -> None:
        """Perform the actions of a fault without their pauses."""
        for action in actions:
            if isinstance(action, Send | Hold):
                self.writer.outgoing += action.data
            elif isinstance(action, End):
                self.end_for(FAULT_ENDS[action.how])

    def release(self) -> None:
        """Send at once what is partly sent or held back."""
        if self._faults is not None:
            self._faults.release()

    # -- faults

    def expect_fault(self, nursery: trio.Nursery) -> None:
        """Be ready to perform a fault, which has struck a request."""
        if self._faults is None:
            self._faults = FaultWriter(
                self.writer,
                nursery,
                on_end=lambda how: self.end_for(FAULT_ENDS[how]),
                on_broken=lambda: self.end_for(EndReason.BROKEN),
            )

    def _parts_of_connection(self) -> list[PlanPart]:
        if self._connection_faults is None:
            return []
        parts = self._connection_faults.parts()
        if parts:
            self.expect_fault(self._nursery)
        return parts

    def finish_faults(self) -> None:
        """The connection has ended: let faults that take it as one unit record why they missed."""
        if self._connection_faults is not None:
            self._connection_faults.finish()

    @property
    def is_busy(self) -> bool:
        """Whether a line is partly sent."""
        return self._faults is not None and self._faults.is_busy

    @property
    def is_delaying(self) -> bool:
        """Whether a fault delays a line."""
        return self._faults is not None and self._faults.pending > 0

    @property
    def has_work(self) -> bool:
        """Whether anything waits to be sent, or is held back."""
        if self.writer.is_sending or self.writer.outgoing:
            return True
        return self._faults is not None and not self._faults.is_idle

    async def until_idle(self) -> None:
        """Wait until no line is partly sent."""
        if self._faults is not None:
            await self._faults.until_idle()

    async def until_sent(self) -> None:
        """Wait until nothing is held back, or waits to be sent.

        Raises:
            trio.BrokenResourceError: the client has reset the connection.
        """
        if self._faults is not None:
            await self._faults.until_released()
        await self.writer.send_everything()

    def hurry(self) -> None:
        """Send the rest of what is partly sent at once, and never again pause within a line."""
        if self._faults is not None:
            self._faults.hurry()

    # -- the end

    def close(self) -> None:
        """Drop all callbacks: the connection has ended, and is then freed with its last reference.

        Objects that refer to each other are freed by the garbage collector only, which looks at all
        objects.
        """
        self._on_end = nothing
        self.writer.close()
        if self._faults is not None:
            self._faults.close()

    @property
    def ending(self) -> Ending:
        """What the connection does when it ends."""
        return ENDINGS[self.end or EndReason.FINISHED]

    @property
    def is_final(self) -> bool:
        """Whether no line is added any more."""
        return self.end is not None and self.ending.is_final

    def end_for(self, reason: EndReason) -> None:
        """End the connection, unless it already ends for a reason of at least that rank."""
        if self.end is None or ENDINGS[reason].rank > self.ending.rank:
            self.end = reason
            self.is_deaf = self.is_deaf or reason is EndReason.DEAF
            if self.is_final and self._faults is not None:
                self._faults.has_ended = True
            self._on_end(reason)
