"""The UDP carrier: answers what comes on one socket.

What may be answered, how long an answer may be and what is remembered are the protocol's
(`esps_portal.protocol.datagrams`); this module moves datagrams and runs calls.
"""

from __future__ import annotations

import socket

import attrs
import trio

from esps_portal.portal.answering import Call, Portal
from esps_portal.portal.services import Caller, Service
from esps_portal.protocol.datagrams import DatagramRules, Exchange
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import ERR, Reply, Request, refusal
from esps_portal.server.datagram_socket import Ancillary, DatagramSocket, Source

# The code, and what is for a machine: no length of the request makes room.
_NO_ROOM = ("too-large", "0", "use-tcp")


@attrs.define
class DatagramCaller(Caller):
    """The sender of one datagram. It notes what `admit` began, for the carrier to finish."""

    rules: DatagramRules
    request: Request
    source: Source
    ancillary: Ancillary
    request_size: int
    exchange: Exchange | None = None

    def admit(self, service: Service) -> bool:
        """Begin an exchange, if there is room to remember it."""
        self.exchange = self.rules.begin(
            self.request,
            self.source,
            self.request_size,
            keeps=not service.idempotent,
            runs=not service.instant,
        )
        return self.exchange is not None


class DatagramServer(DatagramSocket):
    """Answers on one UDP socket, which it owns.

    Args:
        rules: shared by all sockets of a server, so that its bounds are the server's.
    """

    def __init__(self, sock: socket.socket, portal: Portal, rules: DatagramRules) -> None:
        super().__init__(sock)
        self._portal = portal
        self._rules = rules
        self._calls: set[trio.CancelScope] = set()
        # Those of them that end without an answer.
        self._aborted: set[trio.CancelScope] = set()
        self._one_ended = trio.lowlevel.ParkingLot()

    @property
    def has_calls(self) -> bool:
        """Whether calls run, or clean up after they were cancelled."""
        return bool(self._calls)

    async def shut_down(self) -> None:
        """Refuse new calls; return when the running ones have ended or been refused."""
        self._rules.closing = True
        with trio.move_on_after(self._portal.limits.drain):
            await self._until_ended(self._calls)
        for scope in self._calls:
            scope.cancel()
        await self._until_ended(self._calls)

    async def abort(self) -> None:
        """Cancel every call without an answer; return when all have ended."""
        # Not those that come meanwhile, of which there may be no end.
        aborted = set(self._calls)
        self._aborted |= aborted
        for scope in aborted:
            scope.cancel()
        await self._until_ended(aborted)

    async def _until_ended(self, calls: set[trio.CancelScope]) -> None:
        while not calls.isdisjoint(self._calls):
            await self._one_ended.park()

    def _handle(self, datagram: bytes, source: Source, ancillary: Ancillary, now: float) -> None:
        """Answer one datagram, if it is one that gets an answer."""
        self._portal.statistics.datagrams += 1
        rules = self._rules
        request = rules.receive_untrusted(datagram, source, now)
        if isinstance(request, Request):
            host, port = source[0], source[1]
            caller = DatagramCaller(
                "udp", host, port, rules, request, source, ancillary, len(datagram)
            )
            self._execute(caller, now)
        elif request is not None:
            self._send(request, source, ancillary)

    def _execute(self, caller: DatagramCaller, now: float) -> None:
        request = caller.request
        outcome = self._portal.answer(request, caller)
        exchange = caller.exchange
        if isinstance(outcome, Call):
            self._begin_call(outcome, caller)
            return
        assert isinstance(outcome, Reply)  # noqa: S101 - `answer` gives no farewell over UDP
        if exchange is not None:
            answer = self._rules.finish(exchange, [outcome], now)
        else:
            answer = self._rules.fit([outcome], request.tag, caller.request_size)
        self._deliver(answer, caller, now)

    def _begin_call(self, call: Call, caller: DatagramCaller) -> None:
        scope = trio.CancelScope()
        self._calls.add(scope)
        self._nursery.start_soon(self._run_in_scope, call, caller, scope)

    def _deliver(self, answer: bytes | None, caller: DatagramCaller, now: float) -> None:  # noqa: ARG002 - for a journal
        """Send an answer, if the rules allow one."""
        if answer is not None:
            self._send(answer, caller.source, caller.ancillary)

    async def _run_in_scope(
        self, call: Call, caller: DatagramCaller, scope: trio.CancelScope
    ) -> None:
        try:
            await self._run_call(call, caller, scope)
        finally:
            self._calls.discard(scope)
            self._aborted.discard(scope)
            self._one_ended.unpark_all()

    async def _run_call(self, call: Call, caller: DatagramCaller, scope: trio.CancelScope) -> None:
        replies: list[Reply] = []
        room = self._portal.limits.max_datagram
        held = 0

        async def collect(reply: Reply) -> None:
            nonlocal held
            replies.append(reply)
            held += len(reply.encode())
            if held > room:
                # It can never be sent: a small datagram must not cause much work.
                raise ReplyError(*_NO_ROOM)
            await trio.lowlevel.checkpoint()

        call.send = collect
        assert caller.exchange is not None  # noqa: S101 - `admit` is asked before any task is made
        final: Reply | None = None
        scope.deadline = trio.current_time() + self._portal.limits.window
        try:
            with scope:
                final = await call.run()
        except trio.Cancelled:
            # The socket was closed. The rules outlive that: the request may come again.
            now = trio.current_time()
            self._rules.finish(caller.exchange, [refusal(call.tag, "closing")], now)
            raise
        if final is None:
            closing, late = (b"closing",), (b"failed", b"it ran for longer than a client waits")
            final = Reply(call.tag, ERR, closing if self._rules.closing else late)
        if held > room:
            replies.clear()
            final = Reply(call.tag, ERR, tuple(word.encode() for word in _NO_ROOM))
        now = trio.current_time()
        answer = self._rules.finish(caller.exchange, [*replies, final], now)
        if scope not in self._aborted:
            self._deliver(answer, caller, now)
