"""The options that script a served portal: --control, --scenario, --fault, --replay, --record.

`serve` and `run` share them: each is an option in `scripted_options` and a value in `Script`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from esps_portal.cli.completion import complete_fault, complete_file
from esps_portal.cli.errors import fail
from esps_portal.cli.options import Option
from esps_portal.cli.reloading import CannotReloadError, Reload, reopen
from esps_portal.cli.script_files import RecordingFile, ScenarioFile, ScriptFile

if TYPE_CHECKING:
    import trio

    from esps_portal.faults.fault import Fault
    from esps_portal.journal.record_file import RecordFile
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.scenario import PlannedFault, Scenario
    from esps_portal.mock.scripted import ScriptedPortal
    from esps_portal.server.serving import Listening

_log = logging.getLogger("esps_portal")

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Held = TypeVar("_Held")


class FaultWords(click.ParamType["PlannedFault"]):
    """A fault in words: its name, then ``key=value``, numbers parsed."""

    name = "fault"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PlannedFault:
        """Return the fault."""
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
        from esps_portal.mock.scenario_reading import read_fault  # noqa: PLC0415

        kind, *words = str(value).split() or [""]
        said: dict[str, object] = {"fault": kind}
        for word in words:
            key, equals, text = word.partition("=")
            if not equals or key in said:
                self.fail(f"{word!r}: a fault is its name, then key=value, each once", param, ctx)
            numbers = [_number(part) for part in text.split(",")]
            said[key] = numbers[0] if len(numbers) == 1 else numbers
            if key == "optional":
                said[key] = {"true": True, "false": False}.get(text, text)
        try:
            return read_fault(said)
        except ScenarioError as error:
            # Most errors name their key themselves.
            named = re.search(rf"(?<!\w){re.escape(error.path)}(?!\w)", error.message)
            self.fail(error.message if named else str(error), param, ctx)


def _number(text: str) -> int | float | str:
    if text[:1].isalpha():
        return text  # a service may be called nan
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


record_option: Option = click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add to FILE, as JSON lines, every connection, request and answer.",
)


def scripted_options(command: _Command) -> _Command:
    """Add the options that script a portal."""
    scenario = click.option(
        "--scenario",
        type=ScenarioFile(),
        shell_complete=complete_file,
        metavar="FILE",
        help="Place the stubs and faults of a TOML file, and start with its limits.",
    )
    fault = click.option(
        "--fault",
        "faults",
        type=FaultWords(),
        shell_complete=complete_fault,
        multiple=True,
        metavar="'NAME KEY=VALUE...'",
        help="Place a fault; may be repeated.",
    )
    replay = click.option(
        "--replay",
        type=RecordingFile(),
        shell_complete=complete_file,
        metavar="FILE",
        help="Answer the calls of a recording as they were answered, in that order.",
    )
    return scenario(fault(replay(record_option(command))))


control_option: Option = click.option(
    "--control",
    type=click.IntRange(0, 65535),
    is_flag=False,
    flag_value=0,
    default=None,
    metavar="[PORT]",
    help="Open a control port on loopback, for tests in any language; without PORT a free one.",
)


@attrs.frozen
class Script:
    """A scripted portal, and how it is controlled.

    Attributes:
        faults: the ones in force from the start.
        control: the port; ``None`` for none.
        scenario, planned, replay: what it was made of: a file, the faults of the command line, and
            a recording.
        record: what is recorded to.
    """

    portal: ScriptedPortal
    faults: list[Fault]
    control: int | None
    scenario: ScriptFile[Scenario] | None
    planned: tuple[PlannedFault, ...]
    replay: ScriptFile[list[RecordedAnswer]] | None
    record: RecordFile | None

    @classmethod
    def of(
        cls,
        scenario: ScriptFile[Scenario] | None,
        faults: tuple[PlannedFault, ...],
        control: int | None,
        replay: ScriptFile[list[RecordedAnswer]] | None = None,
        record: Path | None = None,
    ) -> Script:
        """Make a portal as it was asked for.

        Raises:
            click.UsageError: the scenario, or the recording, does not fit its limits.
            click.exceptions.Exit: the file cannot be recorded to, which was reported.
        """
        from esps_portal.journal.journal import Journal  # noqa: PLC0415 - help must not wait for it
        from esps_portal.journal.recording import RecordingError  # noqa: PLC0415 - the same
        from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - the same
        from esps_portal.mock.scripted import ScriptedPortal  # noqa: PLC0415 - the same
        from esps_portal.product import PRODUCT  # noqa: PLC0415 - the same
        from esps_portal.protocol.limits import Limits  # noqa: PLC0415 - the same
        from esps_portal.services.builtin_portal import builtin_portal  # noqa: PLC0415 - the same

        limits = Limits(**scenario.held.limits) if scenario else Limits()  # type: ignore[arg-type]  # each was checked
        portal = ScriptedPortal(builtin_portal(PRODUCT, limits))
        if control is None:  # nobody asks the journal later: its sinks see all there is to see
            portal.script.journal = Journal(kept=1, whole=record is not None)
        try:
            placed = _place(portal, _held(scenario), faults, _held(replay))
        except ScenarioError as error:
            raise click.BadParameter(str(error), param_hint="'--scenario'") from error
        except RecordingError as error:
            raise click.BadParameter(str(error), param_hint="'--replay'") from error
        if replay is not None:
            _log.info("replaying %d answers of %s", len(replay.held), replay.path)
        file = None
        if record is not None:
            file = open_record(record)
            portal.script.journal.sinks.append(file.write)
        return cls(portal, placed, control, scenario, faults, replay, file)

    def reloads(self, on_fault: Callable[[Fault], None]) -> list[Reload]:
        """Return what SIGHUP reloads.

        Args:
            on_fault: called with every fault that is placed then.
        """
        reloads: list[Reload] = []
        if self.scenario or self.replay:
            reloads.append(partial(self._place_again, on_fault))
        if self.record is not None:
            reloads.append(partial(reopen, self.record))
        return reloads

    def _place_again(self, on_fault: Callable[[Fault], None]) -> str:
        """Replace all stubs and faults by those that the files and options say now, or none."""
        from esps_portal.mock.scripted import ScriptedPortal  # noqa: PLC0415 - the same
        from esps_portal.protocol.limits import Limits  # noqa: PLC0415 - the same
        from esps_portal.services.dispatch import Portal  # noqa: PLC0415 - help must not wait for it

        scenario = None if self.scenario is None else self.scenario.again()
        recording = None if self.replay is None else self.replay.again()
        limits = self.portal.limits
        try:
            _place(ScriptedPortal(Portal(limits=limits)), scenario, self.planned, recording)
        except ValueError as error:  # a ScenarioError or a RecordingError
            raise CannotReloadError(f"{self._files}: {error}") from error
        if scenario and Limits(**scenario.limits) != limits:  # type: ignore[arg-type]  # each was checked
            raise CannotReloadError(f"{self._files}: limits take effect when a portal starts")
        self.portal.script.stubs.clear()
        self.portal.script.faults.clear()
        for fault in _place(self.portal, scenario, self.planned, recording):
            on_fault(fault)
        return f"reloaded {self._files}"

    @property
    def _files(self) -> str:
        return " and ".join(file.path for file in (self.scenario, self.replay) if file)

    async def begin(
        self, nursery: trio.Nursery, listening: Listening, on_fault: Callable[[Fault], None]
    ) -> tuple[str, int] | None:
        """Open the control port, where one is wanted. Returns its address.

        Args:
            on_fault: called with every fault that is placed there.

        Raises:
            CannotBindError: the port cannot be bound.
        """
        if self.control is None:
            return None
        from esps_portal.control.control import serve_control  # noqa: PLC0415 - help must not wait

        serving = partial(
            serve_control, self.portal, listening.ports, port=self.control, on_fault=on_fault
        )
        address: tuple[str, int] = await nursery.start(serving)
        return address


def _held(file: ScriptFile[_Held] | None) -> _Held | None:
    return None if file is None else file.held


def _place(
    portal: ScriptedPortal,
    scenario: Scenario | None,
    faults: tuple[PlannedFault, ...],
    recording: list[RecordedAnswer] | None,
) -> list[Fault]:
    """Place what was asked for, and return the faults.

    Raises:
        ScenarioError, RecordingError: it does not fit the portal's limits.
    """
    from esps_portal.mock.replay import replay  # noqa: PLC0415 - help must not wait for it

    placed = scenario.apply(portal) if scenario else []
    placed += [portal.script.faults.place(fault.make()) for fault in faults]
    if recording is not None:
        replay(recording, portal)
    return placed


def open_record(path: Path) -> RecordFile:
    """Open the file to record to; if that fails say so in one line, and exit 1."""
    from esps_portal.journal.record_file import CannotRecordError, RecordFile  # noqa: PLC0415
    from esps_portal.product import PRODUCT  # noqa: PLC0415 - help must not wait for it

    try:
        return RecordFile(path, PRODUCT)
    except CannotRecordError as error:
        fail(f"esps-portal: {error}")
