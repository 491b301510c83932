"""A peer that the command serves: what it writes, and what SIGHUP reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.written_files import exit_code

if TYPE_CHECKING:
    from esps_portal.cli.peer_options import PeerOptions
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.pcap_file import CaptureFile
    from esps_portal.journal.record_file import RecordFile
    from esps_portal.mock.scenario import Scenario
    from esps_portal.peer.state import PeerState


@attrs.define(eq=False)
class PlayedServer:
    """A peer that is served, with what SIGHUP reloads.

    Attributes:
        faults: those that are in force from the start.
        options: what it was made from.
        udp: what was given of UDP.
        record: the file that is recorded to.
        capture: that of the packets; it has the port, so it is opened once that is known.
    """

    state: PeerState
    faults: list[Fault]
    options: PeerOptions
    udp: bool | None
    record: RecordFile | None
    capture: CaptureFile | None = None

    @property
    def exit_code(self) -> int:
        """The exit code at its end: 1 if a file is not complete."""
        return exit_code(self.record, self.capture)

    def start(self, now: float) -> None:
        """Start the journal; ``now``: in seconds on the clock of the server."""
        self.state.start_clock(now)
        if self.record is not None:
            self.state.journal.sinks.append(self.record.write)

    def open_capture(self, address: tuple[str, int], now: float) -> None:
        """Write the packets from now on, if that was asked for; ``address``: of the peer.

        Raises:
            CannotRecordError: the file cannot be opened, or is no capture of ours.
        """
        from esps_portal.journal.capture_sink import CaptureSink  # noqa: PLC0415 - help must not wait
        from esps_portal.journal.pcap_file import CaptureFile  # noqa: PLC0415 - the same

        if self.options.pcap is None:
            return
        self.capture = CaptureFile(self.options.pcap, address)
        sink = CaptureSink(self.capture, self.state.journal, time.time() - now)
        sink.attach(self.state.journal)

    def reloads(self, on_fault: Callable[[Fault], None]) -> list[Reload]:
        """Return what SIGHUP reloads.

        Args:
            on_fault: called with each fault that a reload places.
        """
        reloads: list[Reload] = []
        if self.options.scenario is not None:
            reloads.append(partial(self._reload_scenario, self.options.scenario, on_fault))
        if self.record is not None:
            reloads.append(partial(reopen, self.record, "recording"))
        if self.options.pcap is not None:
            reloads.append(self._reopen_capture)
        return reloads

    def _reopen_capture(self) -> str:
        assert self.capture is not None  # noqa: S101 - signals are handled once it is open
        return reopen(self.capture, "capturing")

    def _reload_scenario(
        self, file: ScriptFile[Scenario], on_fault: Callable[[Fault], None]
    ) -> str:
        """Replace stubs and faults by those of the file and the options; on error keep them."""
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

        state = self.state
        try:
            made, faults = self.options.make(file.reread(), None, udp=self.udp)
        except ScenarioError as error:
            raise CannotReloadError(f"{file.path}: {error}") from error
        for key in ("framing", "greeting", "udp"):
            if getattr(made, key) != getattr(state, key):
                raise CannotReloadError(
                    f"{file.path}: {key} cannot change after the peer has started"
                )
        state.script.stubs = made.script.stubs
        state.faults.clear()
        for fault in faults:
            on_fault(state.faults.place(fault))
        return f"reloaded {file.path}"
