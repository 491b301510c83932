"""The UDP carrier of a scripted portal: keeps the journal, and performs faults on its answers."""

from __future__ import annotations

import contextlib
import socket

import attrs
import trio

from esps_portal.portal.faults import Fault
from esps_portal.portal.journal import ABORTED, FAULTED, REPLAYED, REPLIED, RecordedCall
from esps_portal.portal.scripted import ScriptedPortal
from esps_portal.portal.wreckage import Datagrams, wreck_datagram
from esps_portal.protocol.datagrams import DatagramRules
from esps_portal.protocol.messages import Request, readable_request
from esps_portal.server.udp import Ancillary, DatagramCaller, DatagramServer, Source


@attrs.define
class ScriptedDatagramCaller(DatagramCaller):
    """The sender of one datagram, its record, and the fault that befell it."""

    record: RecordedCall | None = None
    fault: Fault | None = None


@attrs.define(eq=False)
class _Held:
    """Datagrams that wait until so many others have left."""

    datagrams: Datagrams
    caller: ScriptedDatagramCaller
    others: int


class ScriptedDatagramServer(DatagramServer):
    """Answers on one UDP socket as a test has scripted it."""

    def __init__(self, sock: socket.socket, portal: ScriptedPortal, rules: DatagramRules) -> None:
        super().__init__(sock, portal, rules)
        self._script = portal.script
        self._held: list[_Held] = []
        self._nursery: trio.Nursery | None = None

    def _handle(
        self,
        datagram: bytes,
        source: Source,
        ancillary: Ancillary,
        now: float,
        nursery: trio.Nursery,
    ) -> None:
        self._nursery = nursery
        rules, journal = self._rules, self._script.journal
        repeats = rules.repeats
        request = rules.receive_untrusted(datagram, source, now)
        data = datagram.removesuffix(b"\n")
        readable = request if isinstance(request, Request) else readable_request(data)
        record = journal.received("udp", source[:2], None, data, readable, now)
        if not isinstance(request, Request):
            state = REPLAYED if rules.repeats != repeats else REPLIED if request else ABORTED
            journal.ended(record, state, request or b"", now)
            if request is not None:
                self._send(request, source, ancillary)
            return
        host, port = source[0], source[1]
        size = len(datagram)
        caller = ScriptedDatagramCaller(
            "udp", host, port, rules, request, source, ancillary, size, record=record
        )
        faults = self._script.faults
        if len(faults):
            service = request.args[0] if request.verb == b"CALL" and request.args else None
            caller.fault = faults.for_request(service, "udp", source)
        if caller.fault is None:
            self._execute(caller, now, nursery)
            return
        record.fault = str(caller.fault)
        if caller.fault.when == "after":
            self._execute(caller, now, nursery)
        elif caller.fault.kind == "delay":
            nursery.start_soon(self._execute_later, caller, caller.fault.lateness(), nursery)
        else:
            journal.ended(record, FAULTED, b"", now)

    async def _execute_later(
        self, caller: ScriptedDatagramCaller, seconds: float, nursery: trio.Nursery
    ) -> None:
        await trio.sleep(seconds)
        self._execute(caller, trio.current_time(), nursery)

    def _deliver(self, answer: bytes | None, caller: DatagramCaller) -> None:
        assert isinstance(caller, ScriptedDatagramCaller)  # noqa: S101 - `_handle` makes no other
        assert caller.record is not None  # noqa: S101 - the same
        now = trio.current_time()
        if answer is None:
            self._script.journal.ended(caller.record, ABORTED, b"", now)
        elif caller.fault is None:
            self._script.journal.ended(caller.record, REPLIED, answer, now)
            self._send(answer, caller.source, caller.ancillary)
        else:
            self._script.journal.ended(caller.record, FAULTED, answer, now)
            self._send_wrecked(wreck_datagram(caller.fault, answer), caller)
            return
        self._release_after_one()

    def _send_wrecked(self, wrecked: Datagrams, caller: ScriptedDatagramCaller) -> None:
        assert self._nursery is not None  # noqa: S101 - `_handle` has set it
        if wrecked.hold:
            held = _Held(wrecked, caller, wrecked.hold)
            self._held.append(held)
            self._nursery.start_soon(self._release_later, held)
        elif wrecked.delay:
            self._nursery.start_soon(self._leave_later, wrecked, caller)
        else:
            self._leave(wrecked, caller)
            if wrecked.datagrams:
                self._release_after_one()

    async def _leave_later(self, wrecked: Datagrams, caller: ScriptedDatagramCaller) -> None:
        await trio.sleep(wrecked.delay)
        self._leave(wrecked, caller)
        self._release_after_one()

    async def _release_later(self, held: _Held) -> None:
        await trio.sleep(held.datagrams.delay)
        if held in self._held:
            self._held.remove(held)
            self._leave(held.datagrams, held.caller)

    def _release_after_one(self) -> None:
        """One reply has left: what waited for it follows."""
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
        """Send nothing of what is held back."""
        self._held.clear()
