"""One UDP socket: has the portal answer what comes, and sends the answers.

What may be answered, how long an answer may be and what is remembered are the protocol's
(`esps_portal.protocol.datagram_server`). This module moves datagrams and runs calls. What happens
is noted by an observer, if there is one; faults are asked about each request, if there are any.
"""

from __future__ import annotations

import socket
from typing import ClassVar

import attrs
import trio

from esps_portal.faults.fault import FaultTarget
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.journal.records import ABORTED, FAULTED, REPLAYED, REPLIED
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_socket import DatagramSocket, Sender
from esps_portal.protocol.datagram_server import DatagramServer, RememberedCall, Repeat
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import ERR, Reply, Request, error_reply
from esps_portal.server.observer import DatagramObserver, Exchange
from esps_portal.services.dispatch import Call, Dispatcher
from esps_portal.services.service import Caller

# The code, and what is for a machine: no length of the request makes room.
_NO_ROOM = ("too-large", "0", "use-tcp")


@attrs.define(weakref_slot=False)  # one is made for each request
class DatagramCaller(Caller):
    """The sender of one request.

    Attributes:
        datagram: the request as it came.
        remembered: what `reserve` began, if it was asked.
        exchange: what is noted of the request; `None`: nothing yet.
    """

    transport: ClassVar[str] = "udp"

    request: Request
    datagram: bytes
    sender: Sender
    protocol: DatagramServer
    remembered: RememberedCall | None = None
    exchange: Exchange | None = None

    @property
    def remote(self) -> tuple[str, int]:
        """The client's address and port."""
        return self.sender.remote

    @property
    def line(self) -> bytes:
        """The request without its LF."""
        return self.datagram[:-1]

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


class PortalDatagrams:
    """Answers on one UDP socket, which it owns. `run` is its whole life.

    Args:
        protocol: shared by all sockets of a server, so that its bounds are the server's.
        observer: notes what happens; `None`: nobody does.
        faults: are asked about each request; `None`: there never are any.
    """

    def __init__(
        self,
        sock: socket.socket,
        portal: Dispatcher,
        protocol: DatagramServer,
        *,
        observer: DatagramObserver | None = None,
        faults: FaultRegistry | None = None,
    ) -> None:
        self._socket = DatagramSocket(sock)
        self._portal = portal
        self._protocol = protocol
        self._observer = observer
        self._faults = faults
        # `run` opens the first, for what takes longer than one datagram, and makes the second.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter
        # Sends a reply that no fault changes; without faults nothing has to count them.
        self._send = self._socket.send
        self._calls: set[trio.CancelScope] = set()
        # Those of them that end without an answer.
        self._aborted: set[trio.CancelScope] = set()
        self._one_ended = trio.lowlevel.ParkingLot()

    async def run(self) -> None:
        """Answer what comes until cancelled or closed."""
        async with trio.open_nursery() as self._nursery:
            self._writer = DatagramFaultWriter(self._socket, self._nursery)
            if self._faults is not None:
                self._send = self._writer.send
            await self._socket.run(self._handle)
            self._nursery.cancel_scope.cancel()

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        self._socket.close()

    @property
    def has_calls(self) -> bool:
        """Whether calls run, or clean up after they were cancelled."""
        return bool(self._calls)

    async def shut_down(self) -> None:
        """Refuse new calls; return when the running ones have ended or been refused."""
        self._protocol.closing = True
        with trio.move_on_after(self._portal.limits.drain):
            await self._until_ended(self._calls)
        for scope in self._calls:
            scope.cancel()
        await self._until_ended(self._calls)

    def discard_waiting(self) -> None:
        """Throw away what has come and was not read."""
        self._socket.discard_waiting()

    async def abort(self) -> None:
        """Cancel every call without an answer, drop what is late; return when all have ended."""
        # Not those that come meanwhile, of which there may be no end.
        aborted = set(self._calls)
        self._aborted |= aborted
        for scope in aborted:
            scope.cancel()
        await self._until_ended(aborted)
        self._writer.forget()

    async def _until_ended(self, calls: set[trio.CancelScope]) -> None:
        while not calls.isdisjoint(self._calls):
            await self._one_ended.park()

    # -- one datagram

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Answer one datagram, if it is one that gets an answer."""
        self._portal.statistics.datagrams += 1
        request = self._protocol.receive_untrusted(datagram, sender.address, now)
        if not isinstance(request, Request):
            self._answer_unexecuted(datagram.removesuffix(b"\n"), request, sender, now)
            return
        caller = DatagramCaller(request, datagram, sender, self._protocol)
        faults, observer = self._faults, self._observer
        if (faults is not None and faults.in_force) or (
            observer is not None and observer.journal.has_listeners
        ):
            self._execute_watched(caller, now)
        else:
            self._execute(caller, now)

    def _answer_unexecuted(
        self, line: bytes, found: Repeat | bytes | None, sender: Sender, now: float
    ) -> None:
        """Send what answers a datagram that executes nothing."""
        reply = found.datagram if isinstance(found, Repeat) else found
        if self._observer is not None:
            state = REPLAYED if isinstance(found, Repeat) else REPLIED if reply else ABORTED
            self._observer.not_executed(line, state, reply or b"", sender.remote, now)
        if reply is not None:
            self._send(reply, sender)

    def _execute_watched(self, caller: DatagramCaller, now: float) -> None:
        """Execute a request that a fault may strike, or of which somebody is notified at once."""
        exchange, request = self._note(caller, now), caller.request
        service = request.args[0] if request.verb == b"CALL" and request.args else None
        faults = self._faults
        unit = FaultTarget("udp", caller.sender.address, service, exchange.record)
        fault = None if faults is None else faults.for_target(unit)
        if fault is None:
            self._execute(caller, now)
            return
        plan = exchange.apply_fault(fault)
        if fault.when == "after":
            self._execute(caller, now)
            return
        plan.record_strike()
        if fault.kind == "delay":
            self._writer.later(fault.next_delay(), lambda: self._execute_late(caller))
        else:
            exchange.end(FAULTED)

    def _execute_late(self, caller: DatagramCaller) -> None:
        """Execute as if it had come only now; a repeat may have overtaken it."""
        now = trio.current_time()
        found = self._protocol.receive_untrusted(caller.datagram, caller.sender.address, now)
        if isinstance(found, Request):
            self._execute(caller, now)
            return
        reply = found.datagram if isinstance(found, Repeat) else found
        self._note(caller, now).end(REPLAYED, reply or b"")
        if reply is not None:
            self._send(reply, caller.sender)

    def _execute(self, caller: DatagramCaller, now: float) -> None:
        request = caller.request
        outcome = self._portal.answer(request, caller)
        if not isinstance(outcome, Reply):
            assert isinstance(outcome, Call)  # noqa: S101 - `answer` closes nothing over UDP
            self._note(caller, now)
            scope = trio.CancelScope()
            self._calls.add(scope)
            self._nursery.start_soon(self._run_call, outcome, caller, scope)
        elif caller.remembered is None:
            size = len(caller.datagram)
            self._deliver(self._protocol.clamp_reply((outcome,), request.tag, size), caller, now)
        else:
            self._deliver(self._protocol.finish(caller.remembered, [outcome], now), caller, now)

    def _note(self, caller: DatagramCaller, now: float) -> Exchange:
        """Note that a request has come, unless it has been noted."""
        if caller.exchange is None:
            if self._observer is None:
                caller.exchange = Exchange()
            else:
                remote = caller.sender.remote
                caller.exchange = self._observer.received(caller.line, caller.request, remote, now)
        return caller.exchange

    def _deliver(self, reply: bytes | None, caller: DatagramCaller, now: float) -> None:
        """Send a reply, if the rules allow one, or what a fault makes of it."""
        observer, sender = self._observer, caller.sender
        if reply is None:
            if observer is not None:
                self._note(caller, now).end(ABORTED)
        elif caller.exchange is None:
            # Nearly every request takes this path.
            if observer is not None:
                observer.answered(caller.datagram, reply, sender, now)
            self._send(reply, sender)
        elif caller.exchange.plan is None:
            caller.exchange.end(REPLIED, reply)
            self._send(reply, sender)
        else:
            plan = caller.exchange.plan.datagram(reply)
            caller.exchange.end(FAULTED, reply)
            self._writer.perform(plan, sender)

    # -- running calls

    async def _run_call(self, call: Call, caller: DatagramCaller, scope: trio.CancelScope) -> None:
        remembered = caller.remembered
        assert remembered is not None  # noqa: S101 - `reserve` is asked before any task is made
        scope.deadline = trio.current_time() + self._portal.limits.window
        replies: list[Reply] = []
        try:
            with scope:
                await self._collect(call, replies)
            if scope.cancelled_caught:
                replies.append(self._cut_short(call.tag))
            if (
                sum(len(reply.encode()) for reply in replies[:-1])
                > self._portal.limits.max_datagram
            ):
                replies = [Reply(call.tag, ERR, tuple(word.encode() for word in _NO_ROOM))]
            now = trio.current_time()
            reply = self._protocol.finish(remembered, replies, now)
            if scope not in self._aborted:
                self._deliver(reply, caller, now)
        except trio.Cancelled:
            # The socket was closed. The rules outlive that: the request may come again.
            self._protocol.finish(
                remembered, [error_reply(call.tag, "closing")], trio.current_time()
            )
            raise
        finally:
            if caller.exchange is not None:
                caller.exchange.end(ABORTED)  # where nothing was sent that said otherwise
            self._calls.discard(scope)
            self._aborted.discard(scope)
            self._one_ended.unpark_all()

    async def _collect(self, call: Call, replies: list[Reply]) -> None:
        """Run a call, and append each line of its reply as it comes."""
        room = self._portal.limits.max_datagram

        async def collect(reply: Reply) -> None:
            nonlocal room
            replies.append(reply)
            room -= len(reply.encode())
            if room < 0:
                # It can never be sent: a small datagram must not cause much work.
                raise ReplyError(*_NO_ROOM)
            await trio.lowlevel.checkpoint()

        call.send = collect
        replies.append(await call.run())

    def _cut_short(self, tag: bytes) -> Reply:
        if self._protocol.closing:
            return error_reply(tag, "closing")
        return error_reply(tag, "failed", "it ran for longer than a client waits")


def portal_datagrams(
    portal: Dispatcher, protocol: DatagramServer, sock: socket.socket
) -> PortalDatagrams:
    """Return what answers on one socket of a portal; a scripted one is observed, and has faults."""
    if not isinstance(portal, ScriptedPortal):
        return PortalDatagrams(sock, portal, protocol)
    script = portal.script
    observer = DatagramObserver(script.journal)
    return PortalDatagrams(sock, portal, protocol, observer=observer, faults=script.faults)
