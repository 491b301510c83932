"""The options of ``esps-portal conformance``, and what they choose."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.errors import did_you_mean, exit_with_error
from esps_portal.cli.options import Option, TargetType, add_options, json_option, timeout_option
from esps_portal.given_numbers import shown_value
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.conformance.judged import Texts
    from esps_portal.conformance.plan import Case

_FILE = click.Path(dir_okay=False, path_type=Path)
_READABLE = click.Path(exists=True, dir_okay=False, path_type=Path)

_OPTIONS: tuple[Option, ...] = (
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
        help="What the server was configured with (TOML: idle = 5), if HELLO does not tell.",
    ),
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
        help="Vectors that may fail, one in a line; it says which of them pass.",
    ),
    timeout_option("Seconds to wait for each thing that must come.", 5.0),
    click.option("--list", "list_only", is_flag=True, help="Print the vectors, and run none."),
    json_option,
    click.option("--junit", type=_FILE, metavar="FILE", help="Write a report in JUnit's XML."),
    click.option(
        "--report", type=_FILE, metavar="FILE", help="Write one HTML page: servers by requirement."
    ),
    click.option("--pcap", type=_FILE, metavar="FILE", help="Write a capture for Wireshark."),
)


def conformance_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the command."""
    return add_options(command, _OPTIONS)


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


def choose(
    texts: Texts,
    *,
    section: str | None,
    level: str | None,
    only: tuple[str, ...],
    skip: tuple[str, ...],
) -> list[Case]:
    """Return the vectors to run, in each of their forms.

    Raises:
        click.UsageError: there is no such vector, or no such section.
    """
    from esps_portal.conformance.plan import cases  # noqa: PLC0415 - help must not wait for it
    from esps_portal.conformance.requirements import in_section  # noqa: PLC0415 - the same

    check_known(only, texts.vectors, "--only")
    check_known(skip, texts.vectors, "--skip")
    if section and not any(in_section(one, section) for one in texts.requirements.values()):
        raise click.UsageError(f"--section: the specification has no requirement in {section!r}")
    chosen = [
        vector
        for vector in texts.vectors.values()
        if (not only or vector.id in only)
        and vector.id not in skip
        and level in (None, vector.level)
        and (section is None or any(in_section(one, section) for one in texts.cited_by(vector.id)))
    ]
    if not chosen:
        raise click.UsageError("no vector is left to run; esps-portal conformance --list shows all")
    return list(cases(chosen))


def check_known(names: Iterable[str], vectors: Mapping[str, object], where: str) -> None:
    """Check that there are vectors with these names.

    Raises:
        click.UsageError: there is none with one of them.
    """
    for name in names:
        if name not in vectors:
            hint = did_you_mean(difflib.get_close_matches(name, vectors))
            raise click.UsageError(f"{where}: there is no vector {name!r}{hint}")


def read_known_failing(path: Path | None, vectors: Mapping[str, object]) -> frozenset[str]:
    """Return the vectors of a file, one in a line, with comments after ``#``.

    Raises:
        click.UsageError: there is no such vector.
    """
    if path is None:
        return frozenset()
    lines = _read(path).splitlines()
    names = [name for line in lines if (name := line.split("#")[0].strip())]
    check_known(names, vectors, str(path))
    return frozenset(names)


def read_limits(path: Path | None, defaults: Mapping[str, float]) -> dict[str, float]:
    """Return the limits of a TOML file, by their names in section 10.

    Raises:
        click.UsageError: it is not such a file.
    """
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
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _MANY:
            raise click.UsageError(
                f"{path}: {name} must be a positive number, got {shown_value(value)}"
            )
    return found


_MANY = 2**63


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        exit_with_error(f"cannot read {path}: {error.strerror}")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is not text in UTF-8") from error
