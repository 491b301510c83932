"""``esps-portal inspect``: who holds the port, and whether it speaks ESPS/1."""

from __future__ import annotations

import json

import click

from esps_portal.cli.options import HostType, Seconds
from esps_portal.cli.output import need_output
from esps_portal.protocol.registry import PORT


@click.command("inspect", short_help="Show who holds a port, and if it speaks ESPS/1.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="The port to look at, TCP and UDP.",
)
@click.option(
    "--host",
    type=HostType(),
    metavar="H",
    help="Look at this address or name alone. Of another machine only the answers can be seen.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--timeout",
    type=Seconds(0, 3600, min_open=True),
    default=1.0,
    show_default=True,
    metavar="S",
    help="How many seconds an address gets to answer.",
)
def inspect_command(port: int, host: str | None, as_json: bool, timeout: float) -> None:  # noqa: FBT001 - click passes options by name
    """Show who holds a port on this machine, and whether it speaks ESPS/1.

    Lists each socket on the port (TCP and UDP, IPv4 and IPv6) with its process, command line and
    user, asks each address for ESPS/1, and says what the registries know of the number and what
    could not be seen without more rights. What is asked sees one connection and one datagram,
    with a PING in each.

    Exit codes: 0 something holds the port, 1 nobody holds it, 2 bad usage.

    \b
    Examples:
      esps-portal inspect
      esps-portal inspect --port 8080 --json
    """  # noqa: D301 - click wants the real character, not its name
    # Imported here: the help of the whole command must not wait for it.
    from esps_portal.inspection.report import UnknownHostError, inspect_port  # noqa: PLC0415
    from esps_portal.inspection.text_report import prose  # noqa: PLC0415

    need_output()
    try:
        report = inspect_port(port, host, timeout)
    except UnknownHostError as error:
        raise click.BadParameter(str(error), param_hint="'--host'") from error
    # ASCII in JSON: a command line may hold octets that are no text, and standard output refuses.
    lines = [json.dumps(report.as_json())] if as_json else prose(report)
    click.echo("\n".join(lines))
    raise click.exceptions.Exit(0 if report.held else 1)
