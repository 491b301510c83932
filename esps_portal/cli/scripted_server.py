"""A portal that the command serves, and what SIGHUP reloads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs

from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.written_files import exit_code, open_record
from esps_portal.log import log

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


def make_server(
    options: ScriptOptions, *, is_controlled: bool, issues_certificates: bool = False
) -> ScriptedServer:
    """Make the portal, place stubs and faults, and open the file to record to.

    Args:
        is_controlled: it will have a control port.
        issues_certificates: see `Place`.

    Raises:
        click.UsageError: the limits are wrong, or the scenario or recording does not fit them.
        click.exceptions.Exit: the record file cannot be opened, which was reported.
    """
    from esps_portal.faults.place import PORTAL_WITH_CERTIFICATES  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.journal import Journal  # noqa: PLC0415 - the same
    from esps_portal.mock.scripted import ScriptedPortal  # noqa: PLC0415 - the same
    from esps_portal.product import PRODUCT  # noqa: PLC0415 - the same
    from esps_portal.services.builtin_portal import builtin_portal  # noqa: PLC0415 - the same

    portal = ScriptedPortal(builtin_portal(PRODUCT, options.make_limits()))
    if issues_certificates:
        portal.script.faults.where = PORTAL_WITH_CERTIFICATES
    if not is_controlled:  # nobody queries the journal later: only its sinks need the entries
        portal.script.journal = Journal(max_calls=1, keep_all_lines=options.record is not None)
    faults = _place_given(options, portal)
    file = None
    if options.record is not None:
        file = open_record(options.record)
        portal.script.journal.sinks.append(file.write)
    return ScriptedServer(portal, faults, options, file)


def _place_given(options: ScriptOptions, portal: ScriptedPortal) -> list[Fault]:
    """Place what the options and their files say; return the faults."""
    from esps_portal.journal.recording import RecordingError  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - the same

    scenario, replay = options.scenario, options.replay
    try:
        faults = options.place(
            portal,
            None if scenario is None else scenario.content,
            None if replay is None else replay.content,
        )
    except ScenarioError as error:
        assert scenario is not None  # noqa: S101 - without one there is no such error
        raise scenario.usage_error("--scenario", error) from error
    except RecordingError as error:
        assert replay is not None  # noqa: S101 - without a recording there is no such error
        raise replay.usage_error("--replay", error) from error
    if replay is not None:
        log.info("replaying %d answers of %s", len(replay.content), replay.path)
    return faults


def _beside(scenario: Scenario | None) -> object:
    """Return what a scenario says of proxies and peers, as values that can be compared."""
    from esps_portal.mock.scenario import Scenario  # noqa: PLC0415 - help must not wait
    from esps_portal.mock.scenario_writing import scenario_to_values  # noqa: PLC0415 - the same

    if scenario is None:
        return {}
    return scenario_to_values(Scenario(proxies=scenario.proxies, peers=scenario.peers))
