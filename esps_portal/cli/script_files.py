"""The files that script a served portal, scenarios and recordings, and how to read them again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs
import click

from esps_portal.cli.completion import complete_file
from esps_portal.cli.options import Option
from esps_portal.cli.reloading import CannotReloadError
from esps_portal.log import log
from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.frame_replay import FrameReplay
    from esps_portal.mock.scenario import Scenario

_Content = TypeVar("_Content")


# Bytes that a file may have (own choice): one that never ends, or was given by mistake, would fill
# the memory of the machine before its content is looked at.
_MAX_SCENARIO = 64 << 20
_MAX_RECORDING = 1 << 30
_BLOCK = 1 << 20


class CannotReadError(Exception):
    """A file cannot be read; the message names the file and the reason."""


@attrs.frozen
class ScriptFile(Generic[_Content]):
    """A file that scripts a portal, with its content when it was read first.

    Attributes:
        path: as it was given.
        content: what the file contained.
        parse: reads a file; raises `OSError`, or `ValueError` if the content is wrong.
    """

    path: str
    content: _Content
    parse: Callable[[Path], _Content] = attrs.field(repr=False)

    def usage_error(self, option: str, error: ValueError) -> click.UsageError:
        """Return the error that something in the file makes no sense; ``option`` names the file."""
        return click.BadParameter(f"{self.path}: {error}", param_hint=f"'{option}'")

    def reread(self) -> _Content:
        """Return what the file contains now.

        Raises:
            CannotReloadError: it cannot be read.
        """
        if Path(self.path).exists() and not Path(self.path).is_file():
            raise CannotReloadError(f"{self.path}: a pipe cannot be read again")
        try:
            return _read(self.path, self.parse)
        except CannotReadError as error:
            raise CannotReloadError(str(error)) from error


class ScriptFileType(click.ParamType["ScriptFile[_Content]"], Generic[_Content]):
    """A file that is read when the command line is; its errors name the key or the line."""

    name = "file"

    def __init__(self, parse: Callable[[Path], _Content]) -> None:
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> ScriptFile[_Content]:
        """Return the file with its content."""
        path = str(value)
        try:
            return ScriptFile(path, _read(path, self._parse), self._parse)
        except CannotReadError as error:
            self.fail(str(error), param, ctx)


def warn_of_unused(file: ScriptFile[Scenario], own: str) -> None:
    """Log what a proxy or a peer does not use of its scenario, for it may be meant for it.

    Args:
        own: the tables that it uses, such as ``peers``.
    """
    for table in ("stubs", "faults"):
        if getattr(file.content, table):
            log.warning(
                "%s: [[%s]] is for a portal: what is not below [[%s]] is not used here",
                *(visible(file.path), table, own),
            )


def _read(path: str, parse: Callable[[Path], _Content]) -> _Content:
    try:
        return parse(Path(path))
    except OSError as error:
        raise CannotReadError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CannotReadError(f"{path}: not UTF-8 text") from error
    except ValueError as error:  # a ScenarioError or a RecordingError
        raise CannotReadError(f"{path}: {error}") from error


def _content(path: Path, most: int) -> bytes:
    """Return what a file contains.

    Raises:
        OSError: it cannot be read.
        ValueError: it has more bytes than it may have.
    """
    content = bytearray()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            content += block
            if len(content) > most:
                raise ValueError(f"must be at most {most >> 20} MiB")
    return bytes(content)


def _parse_scenario(path: Path) -> Scenario:
    from esps_portal.mock.scenario_reading import (  # noqa: PLC0415 - help must not wait for it
        read_scenario_toml,
    )

    return read_scenario_toml(_content(path, _MAX_SCENARIO).decode())


def _parse_recording(path: Path) -> list[RecordedAnswer]:
    from esps_portal.journal.recording import (  # noqa: PLC0415 - help must not wait for it
        read_recording,
    )

    return read_recording(_content(path, _MAX_RECORDING))


def _parse_frame_replay(path: Path) -> FrameReplay:
    from esps_portal.journal.recorded_dialogues import (  # noqa: PLC0415 - help must not wait for it
        read_dialogues,
    )
    from esps_portal.mock.frame_replay import FrameReplay  # noqa: PLC0415 - the same

    return FrameReplay.of(read_dialogues(_content(path, _MAX_RECORDING)))


def scenario_option(*, text: str) -> Option:
    """Return --scenario; ``text``: its help."""
    return _file_option("--scenario", ScriptFileType(_parse_scenario), text)


def replay_option(*, text: str) -> Option:
    """Return --replay; ``text``: its help."""
    return _file_option("--replay", ScriptFileType(_parse_recording), text)


def frame_replay_option(*, text: str) -> Option:
    """Return --replay of a peer; ``text``: its help."""
    return _file_option("--replay", ScriptFileType(_parse_frame_replay), text)


def _file_option(name: str, file_type: ScriptFileType[Any], text: str) -> Option:
    option: Option = click.option(
        name, type=file_type, shell_complete=complete_file, metavar="FILE", help=text
    )
    return option
