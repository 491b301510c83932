"""``esps-portal spec``: the specification in the package."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.output import is_terminal, require_stdout

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_PARTS = {
    "text": "esps-1.md",
    "overview": "README.md",
    "guide": "implementing.md",
    "abnf": "esps-1.abnf",
    "registry": "registry.toml",
    "deployment": "deployment.md",
    "capture": "sample.pcap",
}
_BINARY = "capture"
_FOLDER = "vectors"  # many files, which nobody wants on a screen
# Not part of the protocol: each lies in the package that reads or serves it.
_SCHEMAS = ("scenario", "openapi")
_CHOICE = click.Choice([*_PARTS, *_SCHEMAS, _FOLDER])


def _schema(part: str) -> dict[str, Any]:
    from esps_portal.control import openapi  # noqa: PLC0415 - help must not wait for it
    from esps_portal.mock.scenario_schema import scenario_schema  # noqa: PLC0415 - the same

    return scenario_schema() if part == "scenario" else openapi.openapi(openapi.KINDS)


def spec_folder() -> Traversable:
    """Return the folder of the specification: in the package, or next to it in a source checkout.

    It is a `Path`, unless the package is imported from an archive.
    """
    package = resources.files("esps_portal")
    shipped = package / "spec"
    if isinstance(package, Path) and not shipped.is_dir():
        return package.parent / "spec"
    return shipped


@click.command("spec", short_help="Print the specification of ESPS/1, and what belongs to it.")
@click.argument("part", type=_CHOICE, default="text", metavar="[PART]")
@click.option(
    "--path", is_flag=True, help="Print the folder of the files, which has the test vectors too."
)
def spec_command(part: str, *, path: bool) -> None:
    """Print the specification of ESPS/1, or the PART of it that is named.

    "text", the default, is the specification itself, "abnf" its grammar,
    "registry" its verbs, errors, limits and services as TOML, "deployment" how
    to run a portal.

    "overview" is the protocol in one screen, "guide" ten steps to a server of
    your own, each with the command that checks it.

    "capture" is a sample of TCP and UDP packets, for Wireshark:
    esps-portal spec capture > sample.pcap

    "scenario" is the JSON Schema of scenario files, for editors, and "openapi"
    describes the control port, for generators of clients.
    """
    require_stdout()
    if part in _SCHEMAS and not path:
        click.echo(json.dumps(_schema(part), indent=2))
        return
    folder = spec_folder()
    if part == _FOLDER and not path:
        exit_with_error("the test vectors are files: see the folder esps-portal spec --path")
    if not path:
        if part == _BINARY and is_terminal():
            exit_with_error("a capture is binary: esps-portal spec capture > sample.pcap")
        click.echo((folder / _PARTS[part]).read_bytes(), nl=False)
    elif isinstance(folder, Path):
        click.echo(str(folder))
    else:
        exit_with_error(
            f"the files are inside an archive, {folder}: unpack it (python -m zipfile"
            f" -e), or print a part with esps-portal spec {' or '.join(_PARTS)}"
        )
