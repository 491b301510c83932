"""A proxy or a peer that the command serves: the files that it writes, and what SIGHUP reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.written_files import exit_code
from esps_portal.log import log
from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.control_options import ControlOptions
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.control.server_kinds import ServerKind
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.append_file import AppendFile
    from esps_portal.journal.pcap_file import CaptureFile
    from esps_portal.journal.record_file import RecordFile
    from esps_portal.mock.scenario import Scenario
    from esps_portal.net.listeners import Listeners
    from esps_portal.peer.state import PeerState
    from esps_portal.proxy.state import ProxyState

_State = TypeVar("_State", "ProxyState", "PeerState")


@attrs.define(eq=False, kw_only=True)
class ExchangeServer(Generic[_State]):
    """A proxy or a peer that is served.

    Attributes:
        noun: ``proxy`` or ``peer``.
        faults: those that are in force from the start.
        scenario: the file of --scenario.
        make: returns it as it would be with a scenario that was read again, and all its faults.
        fixed: what of it such a scenario cannot change.
        take_stubs: has it answer as the one that was made.
        record: the file that is recorded to.
        pcap: the path of the capture.
        capture: the file there, once it is open.
    """

    noun: str
    state: _State
    faults: list[Fault]
    scenario: ScriptFile[Scenario] | None
    make: Callable[[Scenario], tuple[_State, list[Fault]]]
    fixed: tuple[str, ...]
    take_stubs: Callable[[_State], None] = lambda _: None
    record: RecordFile | None
    pcap: Path | None
    capture: CaptureFile | None = None

    @property
    def exit_code(self) -> int:
        """The exit code at its end: 1 if a file is not complete."""
        return exit_code(self.record, self.capture)

    def start(self, now: float) -> None:
        """Start the journals; ``now``: in seconds on the clock of the server."""
        self.state.start_clock(now)
        if self.record is not None:
            self.state.journal.sinks.append(self.record.write)

    def open_capture(self, address: tuple[str, int], now: float) -> None:
        """Write the packets from now on, if that was asked for.

        Args:
            address: that of the server in them.
            now: in seconds on the clock of the server.

        Raises:
            CannotRecordError: the file cannot be opened, or is not a capture of ours.
        """
        from esps_portal.journal.capture_sink import CaptureSink  # noqa: PLC0415 - help must not wait
        from esps_portal.journal.pcap_file import CaptureFile  # noqa: PLC0415 - the same

        if self.pcap is None:
            return
        self.capture = CaptureFile(self.pcap, address)
        sink = CaptureSink(self.capture, self.state.journal, time.time() - now)
        sink.attach(*dict.fromkeys((self.state.journal, self.state.exchanges)))

    async def open_control(
        self,
        control: ControlOptions | None,
        nursery: trio.Nursery,
        listeners: Listeners,
        on_fault: Callable[[Fault], None],
    ) -> str | None:
        """Open the control port, if that was asked for; return its URL.

        Args:
            nursery: runs it.
            listeners: of the server.
            on_fault: called with each fault that is in force, or is placed later.
        """
        url = None
        if control is not None:
            from esps_portal.control.server_kinds import (  # noqa: PLC0415 - help must not wait
                PEERS,
                PROXIES,
                servers_beside,
            )

            kind: ServerKind[Any, Any] = PROXIES if self.noun == "proxy" else PEERS
            main = kind.controls(self.state, listeners.ports, on_fault)
            url = await control.open(nursery, main, servers_beside(nursery, on_fault))
        for fault in self.faults:
            on_fault(fault)
        return url

    def log_never_struck(self) -> None:
        """Say of each fault that never struck why: it may be mistyped."""
        from esps_portal.mock.never_struck import why_never_struck  # noqa: PLC0415 - help must not wait

        faults = self.state.faults
        for fault in faults.never_struck:
            why = why_never_struck(fault, faults)
            log.info("fault never struck: %s: %s", visible(str(fault)), visible(why))

    def reloads(self, on_fault: Callable[[Fault], None]) -> list[Reload]:
        """Return what SIGHUP reloads.

        Args:
            on_fault: called with each fault that a reload places.
        """
        reloads: list[Reload] = []
        if self.scenario is not None:
            reloads.append(partial(self._reload_scenario, self.scenario, on_fault))
        if self.record is not None:
            reloads.append(partial(self._reopen, self.record, "recording"))
        if self.pcap is not None:
            reloads.append(self._reopen_capture)
        return reloads

    def _reopen(self, file: AppendFile, doing: str) -> str:
        """Reopen a file; what was sent before that is in the old one."""
        self.state.exchanges.flush()
        return reopen(file, doing)

    def _reopen_capture(self) -> str:
        assert self.capture is not None  # noqa: S101 - signals are handled once it is open
        return self._reopen(self.capture, "capturing")

    def _reload_scenario(
        self, file: ScriptFile[Scenario], on_fault: Callable[[Fault], None]
    ) -> str:
        """Replace what was placed by what the file and the options have; on error keep it."""
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

        state = self.state
        try:
            made, faults = self.make(file.reread())
        except ScenarioError as error:
            raise CannotReloadError(f"{file.path}: {error}") from error
        for key in self.fixed:
            if getattr(made, key) != getattr(state, key):
                raise CannotReloadError(
                    f"{file.path}: {key} cannot change after the {self.noun} has started"
                )
        self.take_stubs(made)
        state.faults.clear()
        for fault in faults:
            on_fault(state.faults.place(fault))
        return f"reloaded {file.path}"
