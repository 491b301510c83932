"""``esps-portal signature``: files by which other tools recognise ESPS/1 on the network."""

from __future__ import annotations

from pathlib import Path

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.output import require_stdout
from esps_portal.signatures import SIGNATURES


@click.command("signature", short_help="Print a signature of ESPS/1 for another tool.")
@click.argument("tool", required=False, type=click.Choice(list(SIGNATURES)))
@click.option(
    "--merge",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With nmap: print nmap's own FILE with these probes added.",
)
def signature_command(tool: str | None, merge: Path | None) -> None:
    """Print a signature of ESPS/1 for TOOL; without TOOL, list them.

    Each recognises every implementation, and begins with how to use it.

    \b
    Examples:
      esps-portal signature nmap > esps-portal.probes
      nmap -sV --versiondb esps-portal.probes -p 2867 192.0.2.7
      esps-portal signature wireshark > esps.lua
      tshark -X lua_script:esps.lua -r capture.pcap -Y esps
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    require_stdout()
    if merge is not None:
        if tool != "nmap":
            raise click.UsageError("--merge is for nmap only: esps-portal signature nmap --merge")
        click.echo(_merged(merge), nl=False)
    elif tool is None:
        for name, signature in SIGNATURES.items():
            click.echo(f"{name:10} {signature.summary}")
    else:
        click.echo(SIGNATURES[tool].read(), nl=False)


def _merged(path: Path) -> bytes:
    """Return the file with our probes for nmap; if that fails, print an error and exit 1."""
    from esps_portal.signatures.nmap import (  # noqa: PLC0415 - the others need no such thing
        CannotMergeError,
        merge_probes,
    )

    try:
        return merge_probes(SIGNATURES["nmap"].read().encode(), path.read_bytes())
    except OSError as error:
        exit_with_error(f"cannot read {path}: {error.strerror}")
    except CannotMergeError as error:
        exit_with_error(f"cannot merge with {path}: {error}")
