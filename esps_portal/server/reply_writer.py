"""The lines that a connection sends: plainly, or as a fault changes them; none after the end.

It holds why the connection ends, since that decides whether a line may still be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from esps_portal.faults.actions import Action, Send
from esps_portal.net.fault_writer import FaultWriter
from esps_portal.net.streams import Stream
from esps_portal.net.writer import Writer
from esps_portal.server.endings import ENDINGS, FAULT_ENDS, Ending, EndReason
from esps_portal.server.observer import Exchange


class ReplyWriter:
    """Writes the lines of one connection.

    Args:
        on_end: called with the reason for the end, and with each that replaces it.

    Attributes:
        writer: lines may be added to `Writer.outgoing` directly while `is_busy` is false.
        end: why the connection ends; `None`: it does not, or because the client has finished.
        last_delayed: when a fault was last performed; seconds on trio's clock.
    """

    __slots__ = ("_faults", "_on_end", "end", "last_delayed", "writer")

    def __init__(self, stream: Stream, on_end: Callable[[EndReason], None]) -> None:
        self.writer: Writer = Writer(stream)
        self.end: EndReason | None = None
        self.last_delayed: float = self.writer.progress
        self._on_end = on_end
        # Made when the first fault strikes.
        self._faults: FaultWriter | None = None

    # -- lines

    def append(self, line: bytes) -> None:
        """Add a line at once, after what is out in part and what is held back."""
        self.release()
        self.writer.outgoing += line

    async def write(self, line: bytes, exchange: Exchange, *, final: bool, must_send: bool) -> None:
        """Add a line of a reply, or perform what a fault makes of it; nothing after the end.

        Args:
            final: it is the last line of the reply.
            must_send: see `FaultWriter.perform`.

        Raises:
            trio.BrokenResourceError: the client has reset the connection.
        """
        if self.is_final:
            return
        if exchange.plan is not None:
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

    def release(self) -> None:
        """Send at once what is out in part or held back."""
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

    @property
    def is_busy(self) -> bool:
        """Whether a line is out in part."""
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
        """Wait until no line is out in part."""
        if self._faults is not None:
            await self._faults.until_idle()

    async def hurry_after(self, seconds: float) -> None:
        """Wait, then complete what is out in part."""
        if self._faults is not None:
            await self._faults.hurry_after(seconds)

    # -- the end

    @property
    def ending(self) -> Ending:
        """What the connection does when it ends."""
        return ENDINGS[self.end or EndReason.FINISHED]

    @property
    def is_final(self) -> bool:
        """Whether no line is added any more."""
        return self.end is not None and self.ending.is_final

    def end_for(self, reason: EndReason) -> None:
        """Have the connection end, unless it ends already for a reason of at least that rank."""
        if self.end is None or ENDINGS[reason].rank > self.ending.rank:
            self.end = reason
            if self.is_final and self._faults is not None:
                self._faults.has_ended = True
            self._on_end(reason)
