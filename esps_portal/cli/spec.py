"""``esps-portal spec``: the specification, as it ships with the package."""

from __future__ import annotations

from pathlib import Path

import click

from esps_portal.cli.output import need_output

_PARTS = {"text": "esps-1.md", "abnf": "esps-1.abnf", "registry": "registry.toml"}


def spec_folder() -> Path:
    """Return where the specification is: in the package, or beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "spec"
    return shipped if shipped.is_dir() else package.parent / "spec"


@click.command("spec")
@click.argument("part", type=click.Choice(list(_PARTS)), default="text")
@click.option("--path", is_flag=True, help="Print where the files are, vectors included.")
def spec_command(part: str, *, path: bool) -> None:
    """Print the specification of ESPS/1: its text, grammar or registry."""
    need_output()
    folder = spec_folder()
    if path:
        click.echo(str(folder))
    else:
        click.echo((folder / _PARTS[part]).read_text(encoding="utf-8"), nl=False)
