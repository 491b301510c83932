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
        self._running: dict[trio.CancelScope, bytes] = {}
        # Calls that end without an answer, and calls whose socket is closed.
        self._aborted: set[trio.CancelScope] = set()
        self._closed: set[trio.CancelScope] = set()
        # Calls of which the log already says that they ignore their cancellation.
        self._left: set[trio.CancelScope] = set()
        self._one_ended = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._running)

    def begin(self, call: Call, caller: DatagramCaller, nursery: trio.Nursery) -> None:
        """Start the task of a call."""
        scope = trio.CancelScope()
        self._running[scope] = call.service_name
        nursery.start_soon(self._run, call, caller, scope)

    async def end(self) -> None:
        """Return when all have ended; what does not end within the drain is refused."""
        with trio.move_on_after(self._limits.drain):
            await self._until_ended(self._running.keys())
        await self._cancel(self._running.keys())

    async def close(self) -> None:
        """Cancel every call, since the socket is closed; return as `abort`, also if cancelled."""
        if self._running:
            self._closed |= set(self._running)
            with trio.CancelScope(shield=True):
                await self.abort()

    async def abort(self) -> None:
        """Cancel every call without an answer; return when all have ended, within a bound."""
        # Not the calls that come meanwhile: they might never end.
        aborted = set(self._running)
        self._aborted |= aborted
        await self._cancel(aborted)

    async def _cancel(self, calls: AbstractSet[trio.CancelScope]) -> None:
        """Cancel calls and wait for their end; log those that ignore it, and leave them behind."""
        for scope in set(calls):
            scope.cancel()
        with trio.move_on_after(CANCELLED) as waiting:
            await self._until_ended(calls)
        if waiting.cancelled_caught:
            left = self._running.keys() & calls - self._left
            self._left |= left
            if left:
                message = "calls over UDP are left behind, which ignore cancellation: %s"
                log.warning(message, service_names(self._running[scope] for scope in left))

    async def _until_ended(self, calls: AbstractSet[trio.CancelScope]) -> None:
        while not calls.isdisjoint(self._running.keys()):
            await self._one_ended.park()

    async def _run(self, call: Call, caller: DatagramCaller, scope: trio.CancelScope) -> None:
        remembered = caller.remembered
        assert remembered is not None  # noqa: S101 - `reserve` is asked before any task is made
        scope.deadline = trio.current_time() + self._limits.window
        try:
            replies = await self._replies(call, scope)
            now = trio.current_time()
            reply = self._protocol.finish(remembered, replies, now)
            if scope not in self._aborted:
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
            self._running.pop(scope, None)
            self._aborted.discard(scope)
            self._closed.discard(scope)
            self._left.discard(scope)
            self._one_ended.unpark_all()

    async def _replies(self, call: Call, scope: trio.CancelScope) -> list[Reply]:
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
        with scope:
            replies.append(await call.run())
        if scope.cancelled_caught:
            is_closing = self._protocol.closing or scope in self._closed
            replies.append(_cut_short(call.tag, is_closing=is_closing))
        if room < 0:
            # Even if the service has caught the error.
            return [error_reply(call.tag, too_large.code, *too_large.arguments)]
        return replies


def _cut_short(tag: bytes, *, is_closing: bool) -> Reply:
    if is_closing:
        return error_reply(tag, "closing")
    return error_reply(tag, "failed", "it ran for longer than a client waits")
