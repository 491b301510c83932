"""One UDP socket of a portal: gets the answer to each datagram, and sends it.

`esps_portal.protocol.datagram_server` decides what may be answered, how long an answer may be, and
what is remembered. This module moves datagrams and runs calls. An observer, if there is one,
records what happens; faults, if there are any, are asked about each request.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from esps_portal.clock import monotonic
from esps_portal.faults.datagram_plan import pad_line
from esps_portal.faults.target import FaultTarget
from esps_portal.journal.records import ABORTED, FAULTED, IGNORED, REPLAYED, REPLIED
from esps_portal.net.datagram_fault_writer import DatagramFaultWriter
from esps_portal.net.datagram_sender import Sender
from esps_portal.net.datagram_socket import DatagramSocket
from esps_portal.net.received_datagrams import ReceivedDatagrams
from esps_portal.net.silence import NEVER_SILENT, Silence
from esps_portal.protocol.datagram_server import DatagramServer, Ignored, Repeat, Unexecuted
from esps_portal.protocol.messages import ERR, Reply, Request
from esps_portal.protocol.received_lines import FoundLine, plain_to_request
from esps_portal.server.datagram_calls import DatagramCaller, DatagramCalls
from esps_portal.server.observer import DatagramObserver, PortalExchange
from esps_portal.services.call import Call
from esps_portal.services.dispatcher import Dispatcher

if TYPE_CHECKING:
    from esps_portal.faults.fault_registry import FaultRegistry

# Seconds of answering, after which others have their turn.
_TURN_SECONDS = 0.002
# Datagrams that are answered in one go, or looked at in vain if the first one ends it.
_LOOK_AHEAD = 16


class PortalDatagrams:
    """Answers on one UDP socket, which it owns. `run` is its whole life.

    Args:
        protocol: shared by all sockets of a server, so that its bounds are the server's.
        observer: notes what happens; `None`: nothing is noted.
        faults: are asked about each request; `None`: there are none.
        calls: where calls run, so that nothing waits for one that ignores its cancellation; `None`:
            in a nursery of its own.
        silence: of the network; see `DatagramSocket`.
    """

    def __init__(  # noqa: PLR0913 - what is composed
        self,
        sock: socket.socket,
        portal: Dispatcher,
        protocol: DatagramServer,
        *,
        observer: DatagramObserver | None = None,
        faults: FaultRegistry | None = None,
        calls: trio.Nursery | None = None,
        silence: Silence = NEVER_SILENT,
    ) -> None:
        self._socket = DatagramSocket(sock, silence)
        self._portal = portal
        self._protocol = protocol
        self._observer = observer
        self._faults = faults
        self._call_nursery = calls
        # Set by `run`: where calls and delayed datagrams run, and what sends.
        self._nursery: trio.Nursery
        self._writer: DatagramFaultWriter
        self._send = self._socket.send  # where there are faults they have to count
        self._calls = DatagramCalls(protocol, portal.limits, self._deliver)

    async def run(self) -> None:
        """Answer what comes until cancelled or closed."""
        async with trio.open_nursery() as self._nursery:
            self._writer = DatagramFaultWriter(self._socket, self._nursery)
            if self._faults is not None:
                self._send = self._writer.send
            try:
                await self._socket.run_in_bulk(self._handle_all)
                self._nursery.cancel_scope.cancel()
            finally:
                await self._calls.close()

    def close(self) -> None:
        """Close the socket; `run` then returns."""
        self._socket.close()

    @property
    def has_calls(self) -> bool:
        """Whether calls run, or clean up after they were cancelled."""
        return bool(self._calls)

    @property
    def is_idle(self) -> bool:
        """Whether no call runs, and no reply is delayed."""
        return not (self._calls or self._writer.is_holding)

    async def shut_down(self) -> None:
        """Refuse new calls; return when the running ones have ended or been refused."""
        self._protocol.closing = True
        await self._calls.end()

    def discard_waiting(self) -> None:
        """Throw away what has come and was not read."""
        self._socket.discard_waiting()

    async def abort(self) -> None:
        """Cancel every call without an answer, drop what is late; return when all have ended."""
        await self._calls.abort()
        self._writer.forget()

    # -- many datagrams

    async def _handle_all(self, received: ReceivedDatagrams, now: float) -> None:
        """Answer each datagram that may get an answer; let other tasks run meanwhile."""
        self._portal.statistics.datagrams += len(received.data)
        if self._socket.takes_groups:
            received = self._without_groups(received, now)
        found = self._protocol.plain_requests(received.data)
        done = 0
        while done < len(found):
            if done:
                await trio.lowlevel.checkpoint()
                if self._socket.is_closed:
                    return
                now = trio.current_time()
            self._socket.hold()
            try:
                done = self._take_turn(found, received, done, now)
            finally:
                self._socket.release()  # also where Ctrl-C has come

    def _take_turn(
        self, found: list[FoundLine], received: ReceivedDatagrams, first: int, now: float
    ) -> int:
        """Answer datagrams from number ``first`` on, for a while; return the number of the next."""
        until = monotonic() + _TURN_SECONDS
        done = first
        while done < len(found):
            answered = 0
            if not self._is_watched:
                coming = found[done : done + _LOOK_AHEAD]
                answered = self._answer_plain(coming, received, done, now, until)
            if not answered:
                self._handle(received.data[done], received.sender(done), now)
            done += answered or 1
            if monotonic() > until:
                break
        return done

    def _without_groups(self, received: ReceivedDatagrams, now: float) -> ReceivedDatagrams:
        """Leave out what was sent to a broadcast or multicast address: it gets no answer."""
        others = []
        for number, sender in enumerate(received.senders()):
            if not sender.is_to_group:
                others.append(number)
            elif self._observer is not None:
                line = received.data[number].removesuffix(b"\n")
                self._observer.not_executed(line, IGNORED, b"", sender.remote, now)
        return received if len(others) == len(received.data) else received.only(others)

    @property
    def _is_watched(self) -> bool:
        """Whether requests are answered one by one: a fault may strike, or there are listeners."""
        faults, observer = self._faults, self._observer
        return (faults is not None and bool(faults.in_force)) or (
            observer is not None and observer.journal.has_listeners
        )

    def _answer_plain(
        self,
        found: list[FoundLine],
        received: ReceivedDatagrams,
        first: int,
        now: float,
        until: float,
    ) -> int:
        """Answer datagrams from number ``first`` on, while they are plain; return how many."""
        sources = received.addresses[first:]
        requests = self._protocol.new_requests(found, sources, now)
        if not requests:
            return 0
        replies, last = self._portal.answer_plain(requests, None, 0, until)
        end = first + len(replies)
        if self._observer is not None and replies:
            datagrams, remotes = received.data[first:end], received.addresses[first:end]
            self._observer.answered_together(datagrams, replies, remotes, now)
        self._send_all(replies, received, first)
        if not isinstance(last, Reply):
            return len(replies)
        request = plain_to_request(requests[len(replies)])
        datagram, sender = received.data[end], received.sender(end)
        caller = DatagramCaller(request, datagram, sender, self._protocol)
        reply = self._protocol.clamp_reply((last,), request.tag, len(datagram))
        self._deliver(reply, caller, now)
        return len(replies) + 1

    def _send_all(self, replies: list[bytes], received: ReceivedDatagrams, first: int) -> None:
        if not self._writer.is_holding:
            self._socket.send_all(replies, received, first)
            return
        for number, reply in enumerate(replies, first):
            self._writer.send(reply, received.sender(number))

    # -- one datagram

    def _handle(self, datagram: bytes, sender: Sender, now: float) -> None:
        """Answer one datagram, if it may get an answer."""
        request = self._protocol.receive_untrusted(datagram, sender.address, now)
        if not isinstance(request, Request):
            self._answer_unexecuted(datagram.removesuffix(b"\n"), request, sender, now)
            return
        caller = DatagramCaller(request, datagram, sender, self._protocol)
        if self._is_watched:
            self._execute_watched(caller, now)
        else:
            self._execute(caller, now)

    def _answer_unexecuted(
        self, line: bytes, found: Unexecuted, sender: Sender, now: float
    ) -> None:
        """Send what answers a datagram that executes nothing."""
        state, reply = _state_and_reply(found)
        if self._observer is not None:
            self._observer.not_executed(line, state, reply or b"", sender.remote, now)
        if reply is not None:
            self._send(reply, sender)

    def _execute_watched(self, caller: DatagramCaller, now: float) -> None:
        """Execute a request that a fault may strike, or that listeners are notified of at once."""
        exchange = self._note(caller, now)
        if self._faults is not None:
            target = FaultTarget(
                "udp",
                caller.sender.address,
                caller.request.service,
                exchange.record,
                request_data=caller.line,
            )
            exchange.plan = self._faults.plan(target)
        plan = exchange.plan
        if plan is None or not plan.strikes_before:
            self._execute(caller, now)
            return
        delay = plan.delay_before()
        if delay is None:
            exchange.end(FAULTED)
        else:
            size = len(caller.datagram)
            if self._writer.call_later(delay, lambda: self._execute_late(caller), size) is None:
                exchange.end(ABORTED)

    def _execute_late(self, caller: DatagramCaller) -> None:
        """Execute a delayed request as if it came now; a repeat may have overtaken it."""
        now = trio.current_time()
        found = self._protocol.receive_untrusted(caller.datagram, caller.sender.address, now)
        if isinstance(found, Request):
            self._execute(caller, now)
            return
        state, reply = _state_and_reply(found)
        self._note(caller, now).end(state, reply or b"")
        if reply is not None:
            self._send(reply, caller.sender)

    def _execute(self, caller: DatagramCaller, now: float) -> None:
        request = caller.request
        outcome = self._portal.answer(request, caller)
        if not isinstance(outcome, Reply):
            assert isinstance(outcome, Call)  # noqa: S101 - `answer` closes nothing over UDP
            self._note(caller, now)
            self._calls.begin(outcome, caller, self._call_nursery or self._nursery)
        elif caller.remembered is not None:
            self._deliver(self._protocol.finish(caller.remembered, [outcome], now), caller, now)
        elif outcome.kind != ERR or caller.is_executed:
            size = len(caller.datagram)
            self._deliver(self._protocol.clamp_reply((outcome,), request.tag, size), caller, now)
        else:
            size, source = len(caller.datagram), caller.sender.address
            found = self._protocol.refuse(outcome, size, source, now)
            if isinstance(found, Ignored):
                self._note(caller, now).end(IGNORED)
            else:
                self._deliver(found, caller, now)

    def _note(self, caller: DatagramCaller, now: float) -> PortalExchange:
        """Note that a request has come, unless it has been noted."""
        if caller.exchange is None:
            if self._observer is None:
                caller.exchange = PortalExchange()
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
            faults = caller.exchange.plan
            plan = faults.datagram(reply, pad_line, self._writer.holds)
            caller.exchange.end(FAULTED if faults.has_struck else REPLIED, reply)
            self._writer.perform(plan, sender)


def _state_and_reply(found: Unexecuted) -> tuple[str, bytes | None]:
    """Return the state and the reply of a datagram that executes nothing."""
    if isinstance(found, Repeat):
        return REPLAYED, found.datagram
    if isinstance(found, Ignored):
        return IGNORED, None
    return (REPLIED, found) if isinstance(found, bytes) else (ABORTED, None)
