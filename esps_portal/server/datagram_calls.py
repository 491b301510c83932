"""The running calls of one UDP socket: who sent each, how they run as tasks, and their end."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import ClassVar

import attrs
import trio

from esps_portal.journal.records import ABORTED
from esps_portal.log import log
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.detached import CANCELLED
from esps_portal.protocol.datagram_server import DatagramServer
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Reply, Request, error_reply
from esps_portal.protocol.remembered_calls import RememberedCall
from esps_portal.server.call_tasks import service_names
from esps_portal.server.observer import PortalExchange
from esps_portal.services.call import Call, Caller


@attrs.define(weakref_slot=False)  # one is made for each request
class DatagramCaller(Caller):
    """The sender of one request.

    Attributes:
        datagram: the request as it came.
        remembered: what `reserve` began, if it was asked.
        exchange: what is noted of the request; `None`: nothing yet.
        is_executed: whether the answer is that of a service, even if that is an error.
    """

    transport: ClassVar[str] = "udp"

    request: Request
    datagram: bytes
    sender: Sender
    protocol: DatagramServer
    remembered: RememberedCall | None = None
    exchange: PortalExchange | None = None
    is_executed: bool = False

    @property
    def remote(self) -> tuple[str, int]:
        """The client's address and port."""
        return self.sender.remote

    @property
    def line(self) -> bytes:
        """The request without its LF."""
        return self.datagram[:-1]

    def note_executed(self) -> None:
        """Note that its service answers it."""
        self.is_executed = True

    def reserve(self, *, idempotent: bool, is_async: bool) -> bool:
        """Begin to remember the call, if there is room for it."""
        self.remembered = self.protocol.begin(
            self.request,
            self.sender.address,
            len(self.datagram),
            keep_reply=not idempotent,
            is_async=is_async,
        )
        return self.remembered is not None


@attrs.define(eq=False)
class _Task:
    """The task of one call.

    Attributes:
        service: its name, for the log.
        scope: cancels the call.
        is_aborted: the call ends without an answer.
        is_closed: the socket is closed.
        is_left_behind: the log says already that the call ignores its cancellation.
    """

    service: bytes
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    is_aborted: bool = False
    is_closed: bool = False
    is_left_behind: bool = False


class DatagramCalls:
    """Runs calls as tasks; a cancelled one counts until its task has ended.

    Args:
        deliver: sends a reply, if the rules allow one, at a time on trio's clock.
    """

    def __init__(
        self,
        protocol: DatagramServer,
        limits: Limits,
        deliver: Callable[[bytes | None, DatagramCaller, float], None],
    ) -> None:
        self._protocol = protocol
        self._limits = limits
        self._deliver = deliver
        self._tasks: set[_Task] = set()
        self._one_ended = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, call: Call, caller: DatagramCaller, nursery: trio.Nursery) -> None:
        """Start the task of a call."""
        task = _Task(call.service_name)
        self._tasks.add(task)
        nursery.start_soon(self._run, call, caller, task)

    async def end(self) -> None:
        """Return when all have ended; what does not end within the drain is refused."""
        with trio.move_on_after(self._limits.drain):
            await self._until_ended(self._tasks)
        await self._cancel(self._tasks)

    async def close(self) -> None:
        """Cancel every call, since the socket is closed; return as `abort`, also if cancelled."""
        if self._tasks:
            for task in self._tasks:
                task.is_closed = True
            with trio.CancelScope(shield=True):
                await self.abort()

    async def abort(self) -> None:
        """Cancel every call without an answer; return when all have ended, within a bound."""
        # Not the calls that come meanwhile: they might never end.
        aborted = set(self._tasks)
        for task in aborted:
            task.is_aborted = True
        await self._cancel(aborted)

    async def _cancel(self, tasks: AbstractSet[_Task]) -> None:
        """Cancel calls and wait for their end; log those that ignore it, and leave them behind."""
        for task in tasks:
            task.scope.cancel()
        with trio.move_on_after(CANCELLED) as waiting:
            await self._until_ended(tasks)
        if waiting.cancelled_caught:
            left = [task for task in self._tasks & tasks if not task.is_left_behind]
            for task in left:
                task.is_left_behind = True
            if left:
                message = "calls over UDP are left behind, which ignore cancellation: %s"
                log.warning(message, service_names(task.service for task in left))

    async def _until_ended(self, tasks: AbstractSet[_Task]) -> None:
        while not tasks.isdisjoint(self._tasks):
            await self._one_ended.park()

    async def _run(self, call: Call, caller: DatagramCaller, task: _Task) -> None:
        remembered = caller.remembered
        assert remembered is not None  # noqa: S101 - `reserve` is asked before any task is made
        task.scope.deadline = trio.current_time() + self._limits.window
        try:
            replies = await self._replies(call, task)
            now = trio.current_time()
            reply = self._protocol.finish(remembered, replies, now)
            if not task.is_aborted:
                self._deliver(reply, caller, now)
        except trio.Cancelled:
            # The socket was closed, but the call stays remembered: the request may come again.
            self._protocol.finish(
                remembered, [error_reply(call.tag, "closing")], trio.current_time()
            )
            raise
        finally:
            if caller.exchange is not None:
                caller.exchange.end(ABORTED)  # where nothing was sent that said otherwise
            self._tasks.discard(task)
            self._one_ended.unpark_all()

    async def _replies(self, call: Call, task: _Task) -> list[Reply]:
        """Run a call; return the lines of its reply, or the error that cuts it short."""
        replies: list[Reply] = []
        room = self._limits.max_datagram
        # 0 and use-tcp: no request is long enough for it.
        too_large = ReplyError("too-large", "0", "use-tcp")

        async def collect(reply: Reply) -> None:
            nonlocal room
            replies.append(reply)
            room -= reply.size
            if room < 0:
                # It can never be sent: a small datagram must not cause much work.
                raise too_large
            await trio.lowlevel.checkpoint()

        call.send = collect
        with task.scope:
            replies.append(await call.run())
        if task.scope.cancelled_caught:
            is_closing = self._protocol.closing or task.is_closed
            replies.append(_cut_short(call.tag, is_closing=is_closing))
        if room < 0:
            # Even if the service has caught the error.
            return [error_reply(call.tag, too_large.code, *too_large.arguments)]
        return replies


def _cut_short(tag: bytes, *, is_closing: bool) -> Reply:
    if is_closing:
        return error_reply(tag, "closing")
    return error_reply(tag, "failed", "it ran for longer than a client waits")
