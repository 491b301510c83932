"""The options that script a served portal: --control, --scenario, --fault, --replay, --record.

`serve` and `run` share them: each is an option in `scripted_options` and a value in `Script`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from esps_portal.cli.words import fail

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.events import Events
    from esps_portal.portal.faults import Fault
    from esps_portal.portal.recording import RecordedAnswer
    from esps_portal.portal.scenario import PlannedFault, Scenario
    from esps_portal.portal.scripted import ScriptedPortal
    from esps_portal.server.record_file import RecordFile
    from esps_portal.server.serving import Listening

_log = logging.getLogger("esps_portal")

_Command = TypeVar("_Command", bound=Callable[..., Any])


class ScenarioFile(click.ParamType["Scenario"]):
    """A scenario file; its errors name the key."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> Scenario:
        """Return the scenario that the file holds."""
        from esps_portal.portal.plain import ScenarioError  # noqa: PLC0415 - help must not wait
        from esps_portal.portal.scenario_reading import read_scenario_toml  # noqa: PLC0415

        try:
            return read_scenario_toml(Path(str(value)).read_text(encoding="utf-8"))
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        except UnicodeDecodeError:
            self.fail(f"{value}: no text in UTF-8", param, ctx)
        except ScenarioError as error:
            self.fail(f"{value}: {error}", param, ctx)


class FaultWords(click.ParamType["PlannedFault"]):
    """A fault in words: its name, then ``key=value``, numbers parsed."""

    name = "fault"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PlannedFault:
        """Return the fault."""
        from esps_portal.portal.plain import ScenarioError  # noqa: PLC0415 - help must not wait
        from esps_portal.portal.scenario_reading import read_fault  # noqa: PLC0415

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


class RecordingFile(click.ParamType["list[RecordedAnswer]"]):
    """A recording; its errors name the line."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> list[RecordedAnswer]:
        """Return the answers that the file holds."""
        from esps_portal.portal.recording import (  # noqa: PLC0415 - help must not wait for it
            RecordingError,
            read_recording,
        )

        try:
            return read_recording(Path(str(value)).read_bytes())
        except OSError as error:
            self.fail(f"{value}: {error.strerror}", param, ctx)
        except RecordingError as error:
            self.fail(f"{value}: {error}", param, ctx)


def _number(text: str) -> int | float | str:
    if text[:1].isalpha():
        return text  # a service may be called nan
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


record_option = click.option(
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
        metavar="FILE",
        help="Place the stubs and faults of a TOML file, and start with its limits.",
    )
    fault = click.option(
        "--fault",
        "faults",
        type=FaultWords(),
        multiple=True,
        metavar="'NAME KEY=VALUE...'",
        help="Place a fault; may be repeated.",
    )
    replay = click.option(
        "--replay",
        type=RecordingFile(),
        metavar="FILE",
        help="Answer the calls of a recording as they were answered, in that order.",
    )
    return scenario(fault(replay(record_option(command))))


control_option = click.option(
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
    """

    portal: ScriptedPortal
    faults: list[Fault]
    control: int | None

    @classmethod
    def of(
        cls,
        scenario: Scenario | None,
        faults: tuple[PlannedFault, ...],
        control: int | None,
        replay: list[RecordedAnswer] | None = None,
        record: Path | None = None,
    ) -> Script:
        """Make a portal as it was asked for.

        Raises:
            click.UsageError: the scenario, or the recording, does not fit its limits.
            click.exceptions.Exit: the file cannot be recorded to, which was reported.
        """
        from esps_portal.portal.offer import bundled_portal  # noqa: PLC0415 - help must not wait
        from esps_portal.portal.plain import ScenarioError  # noqa: PLC0415 - the same
        from esps_portal.portal.scenario import Scenario  # noqa: PLC0415 - the same
        from esps_portal.portal.scripted import ScriptedPortal  # noqa: PLC0415 - the same
        from esps_portal.protocol.limits import Limits  # noqa: PLC0415 - the same
        from esps_portal.server.product import PRODUCT  # noqa: PLC0415 - the same

        planned = scenario or Scenario()
        limits = Limits(**planned.limits)  # type: ignore[arg-type]  # each was checked
        portal = ScriptedPortal(bundled_portal(PRODUCT, limits))
        try:
            placed = planned.apply(portal)
        except ScenarioError as error:
            raise click.BadParameter(str(error), param_hint="'--scenario'") from error
        placed += [portal.script.faults.place(fault.make()) for fault in faults]
        _replay(replay, portal)
        if record is not None:
            portal.script.journal.sinks.append(open_record(record).write)
        return cls(portal, placed, control)

    async def begin(
        self, nursery: trio.Nursery, listening: Listening, told: Callable[[Fault], None]
    ) -> tuple[str, int] | None:
        """Open the control port, where one is wanted. Returns its address.

        Args:
            told: called with every fault that is placed there.

        Raises:
            CannotBindError: the port cannot be bound.
        """
        if self.control is None:
            return None
        from functools import partial  # noqa: PLC0415 - with what it is for

        from esps_portal.server.control import serve_control  # noqa: PLC0415 - help must not wait

        serving = partial(
            serve_control, self.portal, listening.switch, port=self.control, told=told
        )
        address: tuple[str, int] = await nursery.start(serving)
        return address


def _replay(recording: list[RecordedAnswer] | None, portal: ScriptedPortal) -> None:
    if recording is None:
        return
    from esps_portal.portal.recording import RecordingError  # noqa: PLC0415 - help must not wait
    from esps_portal.portal.replaying import replay  # noqa: PLC0415 - the same

    try:
        calls = replay(recording, portal)
    except RecordingError as error:
        raise click.BadParameter(str(error), param_hint="'--replay'") from error
    _log.info("replaying %d answers to %d different calls", len(recording), calls)


def open_record(path: Path) -> RecordFile:
    """Open the file to record to; if that fails say so in one line, and exit 1."""
    from esps_portal.server.product import PRODUCT  # noqa: PLC0415 - help must not wait for it
    from esps_portal.server.record_file import CannotRecordError, RecordFile  # noqa: PLC0415

    try:
        return RecordFile(path, PRODUCT)
    except CannotRecordError as error:
        fail(f"esps-portal: {error}")


def write_entries(portal: ScriptedPortal, events: Events) -> None:
    """Have everything that happens written as an event."""
    from esps_portal.portal.journal_plain import plain_entry  # noqa: PLC0415 - help must not wait

    portal.script.journal.sinks.append(lambda entry: events.put(plain_entry(entry)))
