"""The UDP carrier of a scripted portal: keeps the journal, and performs faults on its answers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import attrs
import trio

from esps_portal.portal.answering import Call
from esps_portal.portal.faults import Fault, Unit
from esps_portal.portal.records import ABORTED, FAULTED, REPLAYED, REPLIED, RecordedCall
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.portal.wreckage import Datagrams, wreck_datagram
from esps_portal.protocol.datagrams import DatagramRules
from esps_portal.protocol.messages import Request, readable_request
from esps_portal.server.datagram_socket import Ancillary, Source
from esps_portal.server.udp import DatagramCaller, DatagramServer


@attrs.define
class ScriptedDatagramCaller(DatagramCaller):
    """The sender of one datagram: its line, its record once it has one, and its fault."""

    data: bytes = b""
    record: RecordedCall | None = None
    fault: Fault | None = None


@attrs.define(eq=False)
class _Held:
    """Datagrams held back until a number of others have left."""

    datagrams: Datagrams
    caller: ScriptedDatagramCaller
    others: int


class ScriptedDatagramServer(DatagramServer):
    """Answers on one UDP socket as a test has scripted it."""

    def __init__(self, sock: socket.socket, portal: ScriptedPortal, rules: DatagramRules) -> None:
        super().__init__(sock, portal, rules)
        self._script = portal.script
        self._held: list[_Held] = []
        # What happens later; a reset prevents it.
        self._late: set[trio.CancelScope] = set()

    def _handle(self, datagram: bytes, source: Source, ancillary: Ancillary, now: float) -> None:
        self._portal.statistics.datagrams += 1
        rules, journal = self._rules, self._script.journal
        repeats = rules.repeats
        request = rules.receive_untrusted(datagram, source, now)
        data = datagram.removesuffix(b"\n")
        if not isinstance(request, Request):
            state = REPLAYED if rules.repeats != repeats else REPLIED if request else ABORTED
            said = readable_request(data)
            record = journal.received("udp", source[:2], None, data, said, now, state)
            journal.ended(record, state, request or b"", now)
            if request is not None:
                self._send(request, source, ancillary)
                self._release_after_one()
            return
        host, port = source[0], source[1]
        size = len(datagram)
        caller = ScriptedDatagramCaller(
            "udp", host, port, rules, request, source, ancillary, size, data=data
        )
        faults = self._script.faults
        if not faults.in_force and not journal.is_heard:
            self._execute(caller, now)  # it is noted once it is answered
            return
        record = self._note_received(caller, now)
        service = request.args[0] if request.verb == b"CALL" and request.args else None
        caller.fault = faults.for_unit(Unit("udp", source, service, record))
        if caller.fault is None:
            self._execute(caller, now)
            return
        record.fault = str(caller.fault)
        if caller.fault.when == "after":
            self._execute(caller, now)
            return
        caller.fault.strike()
        if caller.fault.kind == "delay":
            self._later(caller.fault.lateness(), lambda: self._execute_late(datagram, caller))
        else:
            journal.ended(record, FAULTED, b"", now)

    def _execute_late(self, datagram: bytes, caller: ScriptedDatagramCaller) -> None:
        """Execute as if it had come only now; a repeat may have overtaken it."""
        now = trio.current_time()
        request = self._rules.receive_untrusted(datagram, caller.source, now)
        if isinstance(request, Request):
            self._execute(caller, now)
            return
        assert caller.record is not None  # noqa: S101 - `_handle` makes no other
        self._script.journal.ended(caller.record, REPLAYED, request or b"", now)
        if request is not None:
            self._send(request, caller.source, caller.ancillary)
            self._release_after_one()

    async def _run_call(self, call: Call, caller: DatagramCaller, scope: trio.CancelScope) -> None:
        try:
            await super()._run_call(call, caller, scope)
        finally:
            self._end_unanswered(caller, trio.current_time())

    def _begin_call(self, call: Call, caller: DatagramCaller) -> None:
        assert isinstance(caller, ScriptedDatagramCaller)  # noqa: S101 - `_handle` makes no other
        if caller.record is None:
            self._note_received(caller, trio.current_time())
        super()._begin_call(call, caller)

    def _deliver(self, answer: bytes | None, caller: DatagramCaller, now: float) -> None:
        assert isinstance(caller, ScriptedDatagramCaller)  # noqa: S101 - `_handle` makes no other
        journal = self._script.journal
        record = caller.record
        if record is None and answer is not None:
            # Nearly every request takes this path, where the journal must cost little.
            peer = caller.address, caller.port
            journal.begin_run().append((now, peer, 0, caller.data, answer))
            self._send(answer, caller.source, caller.ancillary)
            self._release_after_one()
            return
        if record is None:
            record = self._note_received(caller, now)
        if answer is None:
            journal.ended(record, ABORTED, b"", now)
            return
        if caller.fault is None:
            journal.ended(record, REPLIED, answer, now)
            self._send(answer, caller.source, caller.ancillary)
        else:
            journal.ended(record, FAULTED, answer, now)
            self._send_wrecked(wreck_datagram(caller.fault, answer), caller)
            return
        self._release_after_one()

    def _note_received(self, caller: ScriptedDatagramCaller, now: float) -> RecordedCall:
        journal = self._script.journal
        peer = caller.address, caller.port
        caller.record = journal.received("udp", peer, None, caller.data, caller.request, now)
        return caller.record

    def _send_wrecked(self, wrecked: Datagrams, caller: ScriptedDatagramCaller) -> None:
        if wrecked.hold:
            held = _Held(wrecked, caller, wrecked.hold)
            self._held.append(held)
            self._later(wrecked.delay, lambda: self._release(held))
        elif wrecked.delay:
            self._later(wrecked.delay, lambda: self._leave_late(wrecked, caller))
        else:
            self._leave(wrecked, caller)
            if wrecked.datagrams:
                self._release_after_one()

    def _leave_late(self, wrecked: Datagrams, caller: ScriptedDatagramCaller) -> None:
        self._leave(wrecked, caller)
        self._release_after_one()

    def _release(self, held: _Held) -> None:
        if held in self._held:
            self._held.remove(held)
            self._leave(held.datagrams, held.caller)

    def _release_after_one(self) -> None:
        """Release what waited for one more reply to leave."""
        if not self._held:
            return
        for held in list(self._held):
            held.others -= 1
            if held.others <= 0:
                self._held.remove(held)
                self._leave(held.datagrams, held.caller)

    def _leave(self, wrecked: Datagrams, caller: ScriptedDatagramCaller) -> None:
        for datagram in wrecked.datagrams:
            if wrecked.elsewhere:
                self._send_from_elsewhere(datagram, caller.source)
            else:
                self._send(datagram, caller.source, caller.ancillary)

    def _send_from_elsewhere(self, datagram: bytes, source: Source) -> None:
        """Send from the same address, and a port that nobody asked."""
        with (
            contextlib.suppress(OSError),
            socket.socket(self._socket.family, socket.SOCK_DGRAM) as sock,
        ):
            sock.bind((self._socket.getsockname()[0], 0))
            sock.sendto(datagram, source)

    def forget_held(self) -> None:
        """Drop everything that is held back or delayed."""
        self._held.clear()
        for scope in self._late:
            scope.cancel()

    def _later(self, seconds: float, happen: Callable[[], None]) -> None:
        """Let something happen after a delay in seconds, unless a reset comes first."""
        scope = trio.CancelScope()
        self._late.add(scope)
        self._nursery.start_soon(self._happen_later, scope, seconds, happen)

    async def _happen_later(
        self, scope: trio.CancelScope, seconds: float, happen: Callable[[], None]
    ) -> None:
        with scope:
            await trio.sleep(seconds)
            if not scope.cancel_called:
                happen()
        self._late.discard(scope)

    def _end_unanswered(self, caller: DatagramCaller, now: float) -> None:
        """Note that a call has ended, where nothing was sent that said so."""
        assert isinstance(caller, ScriptedDatagramCaller)  # noqa: S101 - `_handle` makes no other
        if caller.record is not None and caller.record.ended is None:
            self._script.journal.ended(caller.record, ABORTED, b"", now)
