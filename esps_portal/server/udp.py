"""The UDP carrier: one socket, woken when it is readable and drained without waiting.

What may be answered, how long an answer may be and what is remembered are the protocol's
(`esps_portal.protocol.datagrams`); this module moves datagrams and runs calls.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Any

import attrs
import trio

from esps_portal.portal.answering import Call, Portal
from esps_portal.portal.services import Caller, Service
from esps_portal.protocol.datagrams import DatagramRules, Exchange
from esps_portal.protocol.errors import RefusedError
from esps_portal.protocol.messages import ERR, Reply, Request

# Read at a stretch, before other tasks have their turn.
_AT_A_STRETCH = 64
_LARGEST = 65535
# <linux/in.h>: struct in_pktinfo { int ifindex; struct in_addr spec_dst; struct in_addr addr; }
_IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
_IN_PKTINFO = struct.Struct("=I4s4s")
# <linux/in6.h>: struct in6_pktinfo { struct in6_addr addr; unsigned int ifindex; }
_IN6_PKTINFO = struct.Struct("=16sI")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - to recognise them, not to bind them

# The code, and what is for a machine: no length of the request makes room.
_NO_ROOM = ("too-large", "0", "use-tcp")

Ancillary = list[tuple[int, int, bytes]]
_NOWHERE: Ancillary = []
# (host, port), and over IPv6 two numbers more, which go back as they came.
Source = tuple[Any, ...]


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


class DatagramServer:
    """Answers on one UDP socket, which it owns.

    Args:
        rules: shared by all sockets of a server, so that its bounds are the server's.
    """

    def __init__(self, sock: socket.socket, portal: Portal, rules: DatagramRules) -> None:
        self._socket = sock
        self._portal = portal
        self._rules = rules
        self._wildcard = sock.getsockname()[0] in _WILDCARDS
        if self._wildcard:
            _ask_for_destination(sock)
        self._calls: set[trio.CancelScope] = set()
        self._aborting = False
        self._all_ended: trio.Event | None = None

    async def shut_down(self) -> None:
        """Refuse what has not begun, and return when what runs has ended, or been refused."""
        self._rules.closing = True
        if self._calls:
            self._all_ended = trio.Event()
            with trio.move_on_after(self._portal.limits.drain):
                await self._all_ended.wait()
            for scope in self._calls:
                scope.cancel()
            await self._all_ended.wait()

    async def abort(self) -> None:
        """Cancel every call, answer none, and return when all have ended."""
        self._aborting = True
        if self._calls:
            self._all_ended = trio.Event()
            for scope in self._calls:
                scope.cancel()
            await self._all_ended.wait()
        self._aborting = False

    async def run(self) -> None:
        """Answer until cancelled or closed."""
        with self._socket:
            try:
                async with trio.open_nursery() as nursery:
                    with contextlib.suppress(trio.ClosedResourceError):
                        # It may have been closed when nobody waited for it.
                        while self._socket.fileno() >= 0:
                            await trio.lowlevel.wait_readable(self._socket)
                            self._answer_waiting(nursery)
                    nursery.cancel_scope.cancel()
            finally:
                self.close()

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    def discard_waiting(self) -> None:
        """Throw away what has come and was not read."""
        with contextlib.suppress(OSError):
            while True:
                self._socket.recv(1)

    def _answer_waiting(self, nursery: trio.Nursery) -> None:
        now = trio.current_time()
        for _ in range(_AT_A_STRETCH):
            try:
                if self._wildcard:
                    datagram, source, ancillary = self._receive_with_destination()
                else:
                    (datagram, source), ancillary = self._socket.recvfrom(_LARGEST), _NOWHERE
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error about something we sent: the sender's affair
            self._portal.statistics.datagrams += 1
            self._handle(datagram, source, ancillary, now, nursery)

    def _handle(
        self,
        datagram: bytes,
        source: Source,
        ancillary: Ancillary,
        now: float,
        nursery: trio.Nursery,
    ) -> None:
        """Answer one datagram, as far as it is to be answered."""
        rules = self._rules
        request = rules.receive_untrusted(datagram, source, now)
        if isinstance(request, Request):
            host, port = source[0], source[1]
            caller = DatagramCaller(
                "udp", host, port, rules, request, source, ancillary, len(datagram)
            )
            self._execute(caller, now, nursery)
        elif request is not None:
            self._send(request, source, ancillary)

    def _execute(self, caller: DatagramCaller, now: float, nursery: trio.Nursery) -> None:
        request = caller.request
        outcome = self._portal.answer(request, caller)
        exchange = caller.exchange
        if isinstance(outcome, Call):
            self._begin_call(outcome, caller, nursery)
            return
        assert isinstance(outcome, Reply)  # noqa: S101 - a farewell needs a connection
        if exchange is not None:
            answer = self._rules.finish(exchange, [outcome], now)
        else:
            answer = self._rules.fit([outcome], request.tag, caller.request_size)
        self._deliver(answer, caller, now)

    def _begin_call(self, call: Call, caller: DatagramCaller, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._run_call, call, caller)

    def _deliver(self, answer: bytes | None, caller: DatagramCaller, now: float) -> None:  # noqa: ARG002 - for a journal
        """Send an answer, if there is one that may be sent."""
        if answer is not None:
            self._send(answer, caller.source, caller.ancillary)

    async def _run_call(self, call: Call, caller: DatagramCaller) -> None:
        replies: list[Reply] = []
        room = self._portal.limits.max_datagram
        held = 0

        async def collect(reply: Reply) -> None:
            nonlocal held
            replies.append(reply)
            held += len(reply.encode())
            if held > room:
                # It can never be sent, so a small datagram shall not make much work.
                raise RefusedError(*_NO_ROOM)
            await trio.lowlevel.checkpoint()

        call.send = collect
        final: Reply | None = None
        with trio.move_on_after(self._portal.limits.window) as scope:
            self._calls.add(scope)
            final = await call.run()
        self._calls.discard(scope)
        if final is None:
            closing, late = (b"closing",), (b"failed", b"it ran for longer than a client waits")
            final = Reply(call.tag, ERR, closing if self._rules.closing else late)
        if held > room:
            replies.clear()
            final = Reply(call.tag, ERR, tuple(word.encode() for word in _NO_ROOM))
        assert caller.exchange is not None  # noqa: S101 - `admit` is asked before any task is made
        now = trio.current_time()
        answer = self._rules.finish(caller.exchange, [*replies, final], now)
        if not self._aborting:
            self._deliver(answer, caller, now)
        if self._all_ended is not None and not self._calls:
            self._all_ended.set()

    def _receive_with_destination(self) -> tuple[bytes, Source, Ancillary]:
        datagram, found, _, source = self._socket.recvmsg(_LARGEST, 128)
        return datagram, source, _answer_from_there(found)

    def _send(self, datagram: bytes, source: Source, ancillary: Ancillary) -> None:
        try:
            if ancillary:
                self._socket.sendmsg([datagram], ancillary, 0, source)
            else:
                self._socket.sendto(datagram, source)
        except OSError:
            return  # a full buffer, a route that is gone: to a client it is a datagram lost


def _ask_for_destination(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)


def _answer_from_there(found: Ancillary) -> Ancillary:
    """Return what makes the reply leave from the address that was asked."""
    for level, kind, data in found:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            _, local, _ = _IN_PKTINFO.unpack(data)
            return [(level, kind, _IN_PKTINFO.pack(0, local, b"\0" * 4))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
            return [(level, kind, _IN6_PKTINFO.pack(*_IN6_PKTINFO.unpack(data)))]
    return []
