"""The files that script a served portal, scenarios and recordings: read at the start, and again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs
import click

from esps_portal.cli.reloading import CannotReloadError

if TYPE_CHECKING:
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.scenario import Scenario

_Held = TypeVar("_Held")


class CannotReadError(Exception):
    """A file cannot be read; the message says which, and why."""


@attrs.frozen
class ScriptFile(Generic[_Held]):
    """A file that scripts a portal: it was read already, and may be read again.

    Attributes:
        path: as it was given.
        held: what it held.
        read: reads it; raises `CannotReadError`.
    """

    path: str
    held: _Held
    read: Callable[[str], _Held] = attrs.field(repr=False)

    @classmethod
    def of(cls, path: str, read: Callable[[str], _Held]) -> ScriptFile[_Held]:
        """Read a file.

        Raises:
            CannotReadError: that fails, or it does not hold what it should.
        """
        return ScriptFile(path, read(path), read)

    def again(self) -> _Held:
        """Return what it holds now.

        Raises:
            CannotReloadError: that cannot be read.
        """
        try:
            if Path(self.path).exists() and not Path(self.path).is_file():
                raise CannotReloadError(f"{self.path}: what was read from a pipe is gone")
            return self.read(self.path)
        except CannotReadError as error:
            raise CannotReloadError(str(error)) from error


class ScenarioFile(click.ParamType["ScriptFile[Scenario]"]):
    """A scenario file; its errors name the key."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> ScriptFile[Scenario]:
        """Return the file, with the scenario that it holds."""
        try:
            return ScriptFile.of(str(value), _read_scenario)
        except CannotReadError as error:
            self.fail(str(error), param, ctx)


class RecordingFile(click.ParamType["ScriptFile[list[RecordedAnswer]]"]):
    """A recording; its errors name the line."""

    name = "file"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> ScriptFile[list[RecordedAnswer]]:
        """Return the file, with the answers that it holds."""
        try:
            return ScriptFile.of(str(value), _read_recording)
        except CannotReadError as error:
            self.fail(str(error), param, ctx)


def _read_scenario(path: str) -> Scenario:
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
    from esps_portal.mock.scenario_reading import read_scenario_toml  # noqa: PLC0415

    try:
        return read_scenario_toml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotReadError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotReadError(f"{path}: no text in UTF-8") from error
    except ScenarioError as error:
        raise CannotReadError(f"{path}: {error}") from error


def _read_recording(path: str) -> list[RecordedAnswer]:
    from esps_portal.journal.recording import (  # noqa: PLC0415 - help must not wait for it
        RecordingError,
        read_recording,
    )

    try:
        return read_recording(Path(path).read_bytes())
    except OSError as error:
        raise CannotReadError(f"{path}: {error.strerror}") from error
    except RecordingError as error:
        raise CannotReadError(f"{path}: {error}") from error
