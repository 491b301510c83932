"""The running calls of one connection: whether there is room, how they run, how they end."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import attrs
import trio

from esps_portal.journal.records import ABORTED, FAULTED, REPLIED
from esps_portal.log import log
from esps_portal.net.detached import CANCELLED
from esps_portal.protocol.escape import visible
from esps_portal.protocol.messages import Reply
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import CallState, RunningCall
from esps_portal.server.endings import EndReason, reason_of
from esps_portal.server.observer import PortalExchange
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.server.shared_work import SharedWork
from esps_portal.services.call import Call, Caller


def service_names(services: Iterable[bytes]) -> str:
    """Return the names of services, each once, for the log."""
    return ", ".join(sorted({visible(name.decode(errors="backslashreplace")) for name in services}))


class ConnectionCaller(Caller):
    """The client of a connection."""

    __slots__ = ("_calls", "_remote")

    transport = "tcp"

    def __init__(self, remote: tuple[str, int], calls: CallTasks) -> None:
        self._remote = remote
        self._calls = calls

    @property
    def remote(self) -> tuple[str, int]:
        """The client's address and port."""
        return self._remote

    def reserve(self, *, idempotent: bool, is_async: bool) -> bool:  # noqa: ARG002 - it is UDP's
        """Whether there is room for a call; one that is answered at once needs none."""
        return not is_async or not self._calls.is_full


@attrs.define(eq=False)
class _Task:
    """One task.

    Attributes:
        exchange: what the journal has of its call.
        service: the name of the service, for the log.
        call_scope: cancels the call; its task then sends what the call has left in the writer.
        task_scope: cancels the task as a whole, since the connection ends.
    """

    exchange: PortalExchange
    service: bytes
    call_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    task_scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class CallTasks:
    """Runs the calls of one connection; a cancelled one counts until its task has ended.

    Args:
        shared: by the calls of all connections.
        nursery: where they run, so that nothing waits for one that ignores its cancellation;
            `None`: in that of the connection.

    Attributes:
        last_ended: when a task last ended; seconds on trio's clock.
    """

    __slots__ = (
        "_nursery",
        "_one_ended",
        "_protocol",
        "_replies",
        "_shared",
        "_tasks",
        "last_ended",
    )

    def __init__(
        self,
        protocol: ServerConnection,
        replies: ReplyWriter,
        shared: SharedWork,
        nursery: trio.Nursery | None = None,
    ) -> None:
        self._protocol = protocol
        self._nursery = nursery
        self._shared = shared
        self._replies = replies
        self._tasks: dict[RunningCall, _Task] = {}
        # Made when somebody has to wait; most connections never need one.
        self._one_ended: trio.Event | None = None
        self.last_ended: float = 0.0

    @property
    def is_full(self) -> bool:
        """Whether no more may begin, on this connection or on any."""
        return self._shared.is_full or self._protocol.is_full

    def begin(self, call: Call, exchange: PortalExchange, nursery: trio.Nursery) -> RunningCall:
        """Start the task of a call."""
        running = self._protocol.begin(call.tag)
        task = self._tasks[running] = _Task(exchange, call.service_name)
        self._shared.running += 1
        (self._nursery or nursery).start_soon(self._run, call, running, task)
        return running

    def cancel(self, running: RunningCall, reply: bytes) -> None:
        """Cancel a call; ``reply`` was sent in place of its own."""
        self._tasks[running].exchange.end(ABORTED, reply)
        self._tasks[running].call_scope.cancel()

    async def cancel_all(self) -> None:
        """Cancel every task, in turns: to end one costs more than to begin it."""
        for task in list(self._tasks.values()):
            await self._shared.ends.next()
            task.call_scope.cancel()

    def refused(self, tag: bytes, reply: bytes) -> None:
        """Note that the call under a tag was refused, since it did not end in time; cancel it.

        Otherwise it might end by itself in this very moment, and be answered twice.
        """
        for running, task in self._tasks.items():
            if running.tag == tag:
                task.exchange.end(ABORTED, reply)
                task.call_scope.cancel()

    @property
    def are_running(self) -> bool:
        """Whether any task has not ended."""
        return bool(self._tasks)

    async def end(self) -> bool:
        """Cancel the tasks and wait for their end, within a bound; also if cancelled.

        Trio cannot end a task against its will: one whose service ignores its cancellation, as in
        a shielded scope, is left behind.

        Returns:
            Whether all have ended. Otherwise a line in the log names the services.
        """
        with trio.CancelScope(shield=True) as scope:
            for task in list(self._tasks.values()):
                await self._shared.ends.next()
                task.task_scope.cancel()
            scope.deadline = trio.current_time() + CANCELLED
            await self.until_all_ended()
        if self._tasks:
            names = service_names(task.service for task in self._tasks.values())
            log.warning("a connection ends without its calls, which ignore cancellation: %s", names)
        return not self._tasks

    def note_ignored(self, running: RunningCall) -> None:
        """Log that a call has ignored its cancellation so far; it runs on, and counts."""
        if running in self._tasks:
            name = service_names([self._tasks[running].service])
            log.warning("a call still runs though it was cancelled: %s", name)

    async def until_ended(self, running: RunningCall) -> None:
        """Wait until the task of a call has ended."""
        while running in self._tasks:
            await self._until_one_ends()

    async def until_all_ended(self) -> None:
        """Wait until every task has ended."""
        while self._tasks:
            await self._until_one_ends()

    async def _until_one_ends(self) -> None:
        if self._one_ended is None:
            self._one_ended = trio.Event()
        await self._one_ended.wait()

    async def _run(self, call: Call, running: RunningCall, task: _Task) -> None:
        replies, exchange = self._replies, task.exchange
        call.send = partial(self._send_data, running, exchange)
        try:
            with task.task_scope:
                with task.call_scope:
                    reply = await call.run()
                    if running.state is CallState.RUNNING:
                        await self._write_final(reply.encode(), exchange)
                if self._protocol.finish(running) and call.closes:
                    replies.end_for(EndReason.CLOSE)
                await replies.writer.flush()
        except trio.BrokenResourceError as error:
            replies.end_for(reason_of(error))
        finally:
            exchange.end(FAULTED if exchange.plan and exchange.plan.has_begun else ABORTED)
            self._forget(running)

    def _forget(self, running: RunningCall) -> None:
        """Note that the task of a call has ended."""
        self.last_ended = trio.current_time()
        if running.state is not CallState.ENDED:
            # Its connection ends. A CANCEL that has already come must not find the call.
            self._protocol.finish(running)
        del self._tasks[running]
        self._shared.running -= 1
        if self._one_ended is not None:
            self._one_ended.set()
            self._one_ended = None

    async def _send_data(
        self, running: RunningCall, exchange: PortalExchange, reply: Reply
    ) -> None:
        """Send a DATA line, unless the call is cancelled; wait while the client does not read."""
        replies = self._replies
        try:
            if running.state is CallState.RUNNING:
                line = reply.encode()
                exchange.add(line)
                await replies.write(line, exchange, final=False, must_send=False)
            await self._shared.lines.next()  # the others first: they may be thousands
            await replies.writer.flush()
        except trio.BrokenResourceError as error:
            # The client's doing, not the service's: it is cancelled, as by CANCEL.
            replies.end_for(reason_of(error))
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.ClosedResourceError:
            # The connection has ended without this call, which ignores its cancellation.
            await trio.lowlevel.checkpoint()

    async def _write_final(self, line: bytes, exchange: PortalExchange) -> None:
        # A cancelled call's line need not be sent, unless it is partly sent already.
        await self._replies.write(line, exchange, final=True, must_send=False)
        if exchange.plan is not None:
            exchange.end(FAULTED, line)
        elif not self._replies.is_final:
            exchange.end(REPLIED, line)
