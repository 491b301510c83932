"""A proxy that the command serves: what it writes, and what SIGHUP reloads."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.written_files import exit_code

if TYPE_CHECKING:
    from esps_portal.cli.proxy_options import ProxyOptions
    from esps_portal.cli.script_files import ScriptFile
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.pcap_file import CaptureFile
    from esps_portal.journal.record_file import RecordFile
    from esps_portal.mock.scenario import Scenario
    from esps_portal.proxy.state import ProxyState


@attrs.frozen
class ProxiedServer:
    """A proxy that is served, with what SIGHUP reloads.

    Attributes:
        faults: those that are in force from the start.
        options: what it was made from.
        record, capture: the files that are written.
    """

    state: ProxyState
    faults: list[Fault]
    options: ProxyOptions
    record: RecordFile | None
    capture: CaptureFile | None

    @property
    def exit_code(self) -> int:
        """The exit code at its end: 1 if a file is not complete."""
        return exit_code(self.record, self.capture)

    def start(self, now: float) -> None:
        """Start the journals; ``now``: in seconds on the clock of the server."""
        from esps_portal.journal.capture_sink import CaptureSink  # noqa: PLC0415 - help must not wait

        state = self.state
        state.start_clock(now)
        if self.record is not None:
            state.journal.sinks.append(self.record.write)
        if self.capture is not None:
            sink = CaptureSink(self.capture, state.journal, time.time() - now)
            sink.attach(*state.journals)

    def reloads(self, on_fault: Callable[[Fault], None]) -> list[Reload]:
        """Return what SIGHUP reloads.

        Args:
            on_fault: called with each fault that a reload places.
        """
        reloads: list[Reload] = []
        if self.options.scenario is not None:
            reloads.append(partial(self._reload_scenario, self.options.scenario, on_fault))
        if self.record is not None:
            reloads.append(partial(self._reopen, self.record, "recording"))
        if self.capture is not None:
            reloads.append(partial(self._reopen, self.capture, "capturing"))
        return reloads

    def _reopen(self, file: RecordFile | CaptureFile, doing: str) -> str:
        """Reopen a file; what was said before that is in the old one."""
        self.state.exchanges.flush()
        return reopen(file, doing)

    def _reload_scenario(
        self, file: ScriptFile[Scenario], on_fault: Callable[[Fault], None]
    ) -> str:
        """Replace all faults by those of the file and the options; on error keep them."""
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

        state = self.state
        try:
            made, faults = self.options.make(file.reread())
        except ScenarioError as error:
            raise CannotReloadError(f"{file.path}: {error}") from error
        for key in ("upstream", "framing", "reply_framing"):
            if getattr(made, key) != getattr(state, key):
                raise CannotReloadError(
                    f"{file.path}: {key} cannot change after the proxy has started"
                )
        state.faults.clear()
        for fault in faults:
            on_fault(state.faults.place(fault))
        return f"reloaded {file.path}"
