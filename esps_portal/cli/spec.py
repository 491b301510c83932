"""``esps-portal spec``: the specification, as it ships with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.errors import fail
from esps_portal.cli.output import need_output

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_PARTS = {"text": "esps-1.md", "abnf": "esps-1.abnf", "registry": "registry.toml"}


def spec_folder() -> Traversable:
    """Return where the specification is: in the package, or beside it in a source checkout.

    It is a `Path`, unless the package is imported from an archive.
    """
    package = resources.files("esps_portal")
    shipped = package / "spec"
    if isinstance(package, Path) and not shipped.is_dir():
        return package.parent / "spec"
    return shipped


@click.command("spec")
@click.argument("part", type=click.Choice(list(_PARTS)), default="text")
@click.option("--path", is_flag=True, help="Print where the files are, vectors included.")
def spec_command(part: str, *, path: bool) -> None:
    """Print the specification of ESPS/1: its text, grammar or registry."""
    need_output()
    folder = spec_folder()
    if not path:
        click.echo((folder / _PARTS[part]).read_text(encoding="utf-8"), nl=False)
    elif isinstance(folder, Path):
        click.echo(str(folder))
    else:
        fail(
            f"esps-portal: the files are inside an archive, {folder}: unpack it (python -m zipfile"
            " -e), or print a part with esps-portal spec text, abnf or registry"
        )
