"""A portal that the command serves, and what SIGHUP reloads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.written_files import exit_code

if TYPE_CHECKING:
    from esps_portal.cli.script_options import ScriptOptions
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.record_file import RecordFile
    from esps_portal.mock.scenario import Scenario
    from esps_portal.mock.scripted import ScriptedPortal


@attrs.frozen
class ScriptedServer:
    """A scripted portal that is served, with what SIGHUP reloads.

    Attributes:
        faults: those that are in force from the start.
        options: what the portal was made from.
        record: the file that is recorded to.
    """

    portal: ScriptedPortal
    faults: list[Fault]
    options: ScriptOptions
    record: RecordFile | None

    @property
    def exit_code(self) -> int:
        """The exit code at its end: 1 if the recording is not complete."""
        return exit_code(self.record)

    def reloads(self, on_fault: Callable[[Fault], None]) -> list[Reload]:
        """Return what SIGHUP reloads.

        Args:
            on_fault: called with each fault that a reload places.
        """
        reloads: list[Reload] = []
        if self.options.files:
            reloads.append(partial(self._reload_files, on_fault))
        if self.record is not None:
            reloads.append(partial(reopen, self.record, "recording"))
        return reloads

    def _reload_files(self, on_fault: Callable[[Fault], None]) -> str:
        """Replace all stubs and faults by those of the files and options; on error keep all."""
        from esps_portal.mock.scripted import ScriptedPortal  # noqa: PLC0415 - help must not wait
        from esps_portal.protocol.limits import Limits  # noqa: PLC0415 - the same
        from esps_portal.services.dispatch import Portal  # noqa: PLC0415 - the same

        options = self.options
        scenario = None if options.scenario is None else options.scenario.reread()
        recording = None if options.replay is None else options.replay.reread()
        limits = self.portal.limits
        if options.scenario is not None and _beside(scenario) != _beside(options.scenario.content):
            raise CannotReloadError(
                f"{options.files}: proxies and peers cannot change after the portal has started"
            )
        try:
            trial = ScriptedPortal(Portal(limits=limits))
            trial.script.faults.where = self.portal.script.faults.where
            options.place(trial, scenario, recording)
        except ValueError as error:  # a ScenarioError or a RecordingError
            raise CannotReloadError(f"{options.files}: {error}") from error
        if scenario and Limits(**{**scenario.limits, **options.limits}) != limits:  # type: ignore[arg-type]  # each was checked
            raise CannotReloadError(
                f"{options.files}: limits cannot change after the portal has started"
            )
        self.portal.script.stubs.clear()
        self.portal.script.faults.clear()
        for fault in options.place(self.portal, scenario, recording):
            on_fault(fault)
        return f"reloaded {options.files}"


def _beside(scenario: Scenario | None) -> object:
    """Return what a scenario says of proxies and peers, as values that can be compared."""
    from esps_portal.mock.scenario import Scenario  # noqa: PLC0415 - help must not wait
    from esps_portal.mock.scenario_writing import scenario_to_values  # noqa: PLC0415 - the same

    if scenario is None:
        return {}
    return scenario_to_values(Scenario(proxies=scenario.proxies, peers=scenario.peers))
