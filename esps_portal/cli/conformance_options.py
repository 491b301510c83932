"""The options of ``esps-portal conformance``, and what they select."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.errors import did_you_mean, exit_with_error
from esps_portal.cli.options import (
    Option,
    OptionGroup,
    TargetType,
    add_option_group,
    add_options,
    json_option,
    timeout_option,
)
from esps_portal.given_numbers import shown_value
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.conformance.plan import Case
    from esps_portal.conformance.results import Results, Texts

_FILE = click.Path(dir_okay=False, path_type=Path)
_READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)

_SUBJECT_OPTIONS: tuple[Option, ...] = (
    click.option("--server", is_flag=True, help="Start CMD as the server, and end it."),
    click.option("--client", is_flag=True, help="Judge clients: serve each case to CMD."),
    click.option(
        "--limits-env",
        is_flag=True,
        help="CMD takes its limits from ESPS_CONFORMANCE_LIMITS.",
    ),
    click.option(
        "--limits",
        "limits_file",
        type=_READABLE,
        metavar="FILE",
        help="The server's limits (TOML: idle = 5), where HELLO does not announce them.",
    ),
)
_SELECTION_OPTIONS: tuple[Option, ...] = (
    click.option("--section", metavar="N", help="Only vectors for a section of the specification."),
    click.option(
        "--level", type=click.Choice(["must", "should", "may"]), help="Only vectors of this level."
    ),
    click.option("--only", multiple=True, metavar="ID", help="Only this vector."),
    click.option("--skip", multiple=True, metavar="ID", help="Not this vector."),
    click.option(
        "--known-failing",
        type=_READABLE,
        metavar="FILE",
        help="Vectors that may fail, one per line; those that pass are reported.",
    ),
)
_RUN_OPTIONS: tuple[Option, ...] = (
    timeout_option("Seconds to wait for each thing that must come.", 5.0),
    click.option("--list", "list_only", is_flag=True, help="Print the vectors, and run none."),
    json_option,
)
_REPORT_FILE_OPTIONS: tuple[Option, ...] = (
    click.option("--junit", type=_FILE, metavar="FILE", help="Write a report in JUnit's XML."),
    click.option(
        "--report", type=_FILE, metavar="FILE", help="Write one HTML page: servers by requirement."
    ),
    click.option("--pcap", type=_FILE, metavar="FILE", help="Write a capture for Wireshark."),
)


def subject_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what is judged, and its limits."""
    return add_options(command, _SUBJECT_OPTIONS)


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say how the vectors are run and printed."""
    return add_options(command, _RUN_OPTIONS)


@attrs.frozen
class ServerAddress:
    """A server as the user wrote it.

    Attributes:
        text: what was written.
        transports: both, unless it is a URL, whose scheme names one; that of TLS is TCP.
    """

    text: str
    url: PortalURL
    transports: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Parse HOST, HOST:PORT or a URL.

        Raises:
            click.UsageError: it is none of them.
        """
        url = TargetType().convert(text, None, None)
        one = frozenset({"tcp" if url.transport == "tls" else url.transport})
        return cls(text, url, one if "://" in text else frozenset({"tcp", "udp"}))


@attrs.frozen
class Selection:
    """Which vectors are run, and which may fail.

    Attributes:
        section: a section of the specification, for whose requirements they are.
        level: ``must``, ``should`` or ``may``.
        only, skip: by their names.
        known_failing: the file with those that may fail.
    """

    section: str | None
    level: str | None
    only: tuple[str, ...]
    skip: tuple[str, ...]
    known_failing: Path | None

    def choose(self, texts: Texts) -> list[Case]:
        """Return the vectors to run, in each of their forms.

        Raises:
            click.UsageError: there is no such vector, or no such section.
        """
        from esps_portal.conformance.plan import cases  # noqa: PLC0415 - help must not wait for it
        from esps_portal.conformance.requirements import in_section  # noqa: PLC0415 - the same

        section = self.section
        check_known(self.only, texts.vectors, "--only")
        check_known(self.skip, texts.vectors, "--skip")
        if section and not any(in_section(one, section) for one in texts.requirements.values()):
            raise click.UsageError(
                f"--section: the specification has no requirement in {section!r}"
            )
        chosen = [
            vector
            for vector in texts.vectors.values()
            if (not self.only or vector.id in self.only)
            and vector.id not in self.skip
            and self.level in (None, vector.level)
            and (
                section is None
                or any(in_section(one, section) for one in texts.cited_by(vector.id))
            )
        ]
        if not chosen:
            raise click.UsageError(
                "no vector is left to run; esps-portal conformance --list shows all"
            )
        return list(cases(chosen))

    def may_fail(self, vectors: Mapping[str, object]) -> frozenset[str]:
        """Return the vectors of the file, one in a line, with comments after ``#``.

        Raises:
            click.UsageError: there is no such vector.
        """
        path = self.known_failing
        if path is None:
            return frozenset()
        lines = _read(path).splitlines()
        names = [name for line in lines if (name := line.split("#")[0].strip())]
        check_known(names, vectors, str(path))
        return frozenset(names)


#: Adds the options of `Selection`; the command gets them as ``selection``.
selection_options: OptionGroup = add_option_group("selection", Selection, _SELECTION_OPTIONS)


@attrs.frozen
class ReportFiles:
    """The files that are written at the end; ``None`` for what was not asked for.

    Attributes:
        junit: a report for a build server.
        report: an HTML page.
        pcap: a capture of all packets.
    """

    junit: Path | None
    report: Path | None
    pcap: Path | None

    def check(self) -> None:
        """Write nothing to each: an error comes now, and not after the run."""
        for path in filter(None, (self.junit, self.report, self.pcap)):
            _write(path, b"")

    def write(self, all_results: Sequence[Results], texts: Texts) -> None:
        """Write the files; if that fails, print an error and exit 1."""
        from esps_portal.conformance.capture import capture_of  # noqa: PLC0415 - help must not wait for it
        from esps_portal.conformance.html_report import html_report  # noqa: PLC0415 - the same
        from esps_portal.conformance.junit import junit_report  # noqa: PLC0415 - the same

        if self.junit:
            _write(self.junit, junit_report(all_results, texts))
        if self.report:
            _write(self.report, html_report(all_results, texts).encode())
        if self.pcap:
            outcomes = [outcome for results in all_results for outcome in results.outcomes]
            _write(self.pcap, capture_of(outcomes))


#: Adds the options of `ReportFiles`; the command gets them as ``files``.
report_file_options: OptionGroup = add_option_group("files", ReportFiles, _REPORT_FILE_OPTIONS)


def check_known(names: Iterable[str], vectors: Mapping[str, object], where: str) -> None:
    """Check that there are vectors with these names.

    Raises:
        click.UsageError: there is none with one of them.
    """
    for name in names:
        if name not in vectors:
            hint = did_you_mean(difflib.get_close_matches(name, vectors))
            raise click.UsageError(f"{where}: there is no vector {name!r}{hint}")


def read_limits(path: Path | None, defaults: Mapping[str, float]) -> dict[str, float]:
    """Return the limits of a TOML file, by their names in section 10.

    Raises:
        click.UsageError: it is not such a file.
    """
    from esps_portal.conformance.survey import HIGHEST_LIMIT  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait
    from esps_portal.mock.scenario_reading import parse_toml  # noqa: PLC0415 - the same

    if path is None:
        return {}
    try:
        found: dict[str, Any] = parse_toml(_read(path))  # type: ignore[assignment]  # TOML is one table
    except ScenarioError as error:
        raise click.UsageError(f"{path}: {error}") from error
    for name, value in found.items():
        if name not in defaults:
            hint = did_you_mean(difflib.get_close_matches(name, defaults))
            raise click.UsageError(f"{path}: there is no limit {name!r}{hint}")
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 < value <= HIGHEST_LIMIT
        ):
            raise click.UsageError(
                f"{path}: {name} must be a positive number, at most {HIGHEST_LIMIT},"
                f" got {shown_value(value)}"
            )
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        exit_with_error(f"cannot read {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not text in UTF-8") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        exit_with_error(f"cannot write {path}: {error.strerror}")
