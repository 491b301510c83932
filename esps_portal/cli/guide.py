"""``esps-portal guide``: the guides in the package."""

from __future__ import annotations

import click

from esps_portal.cli.output import require_stdout
from esps_portal.guides import GUIDES, guide_text


@click.command("guide", short_help="Print a guide to the fixtures, faults, control and more.")
@click.argument("name", required=False, type=click.Choice(list(GUIDES)), metavar="[NAME]")
def guide_command(name: str | None) -> None:
    """Print the guide NAME, as Markdown; without NAME, list them.

    \b
    Examples:
      esps-portal guide cookbook
      esps-portal guide proxy | less
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    require_stdout()
    if name is None:
        for each, summary in GUIDES.items():
            click.echo(f"{each:10} {summary}")
    else:
        click.echo(guide_text(name), nl=False)
