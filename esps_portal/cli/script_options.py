"""The options that script a served portal: --scenario, --limit, --fault, --replay, --record.

`serve` and `run` share them. The command gets them as one `ScriptOptions`, from which `make_server`
makes the portal.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from esps_portal.cli.fault_parameter import fault_option, make_fault
from esps_portal.cli.limit_parameter import limit_option, make_limits
from esps_portal.cli.options import Option, OptionGroup, add_option_group
from esps_portal.cli.script_files import ScriptFile, replay_option, scenario_option
from esps_portal.cli.written_files import written_file_option

if TYPE_CHECKING:
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.planned_fault import PlannedFault
    from esps_portal.mock.scenario import Scenario
    from esps_portal.mock.scripted import ScriptedPortal
    from esps_portal.protocol.limits import Limits


_SCRIPT_OPTIONS: tuple[Option, ...] = (
    scenario_option(
        text="Place the stubs and faults of a TOML file, use its limits, and start its proxies and"
        " peers on free ports."
    ),
    limit_option,
    fault_option(),
    replay_option(text="Answer calls as in a recording, in its order."),
    written_file_option(
        "--record", text="Append every connection, request and reply to FILE, as JSON lines."
    ),
)


@attrs.frozen
class ScriptOptions:
    """The options that script a portal, as given.

    Attributes:
        scenario: the file of --scenario.
        limits: those of --limit, by their names in `Limits`.
        faults: those of --fault.
        replay: the recording of --replay.
        record: the path of --record.
    """

    scenario: ScriptFile[Scenario] | None
    limits: Mapping[str, float] = attrs.field(converter=dict)
    faults: tuple[PlannedFault, ...]
    replay: ScriptFile[list[RecordedAnswer]] | None
    record: Path | None

    @property
    def are_given(self) -> bool:
        """Whether any option was given that needs more than limits."""
        return bool(self.scenario or self.faults or self.replay or self.record)

    @property
    def files(self) -> str:
        """The paths of the files that SIGHUP reads again, for a message."""
        return " and ".join(file.path for file in (self.scenario, self.replay) if file)

    def make_limits(self) -> Limits:
        """Return the limits of the portal.

        Raises:
            click.UsageError: they are out of range, or given twice.
        """
        return make_limits(self.limits, self.scenario.content.limits if self.scenario else {})

    def place(
        self,
        portal: ScriptedPortal,
        scenario: Scenario | None,
        recording: list[RecordedAnswer] | None,
    ) -> list[Fault]:
        """Place a scenario, the faults of --fault and a recording; return all the faults.

        Raises:
            ScenarioError, RecordingError: it does not fit the portal's limits.
            click.BadParameter: a fault of --fault makes no sense there.
        """
        from esps_portal.mock.replay import replay  # noqa: PLC0415 - help must not wait for it

        placed = scenario.apply(portal) if scenario else []
        faults = portal.script.faults
        placed += [faults.place(make_fault(fault, faults.where)) for fault in self.faults]
        if recording is not None:
            replay(recording, portal)
        return placed


#: Adds the options of `ScriptOptions`; the command gets them as ``script``.
script_options: OptionGroup = add_option_group("script", ScriptOptions, _SCRIPT_OPTIONS)
