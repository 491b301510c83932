"""``esps-portal inspect``: who uses a port, and whether it speaks ESPS/1."""

from __future__ import annotations

import json

import click

from esps_portal.cli.options import HostType, Seconds
from esps_portal.cli.output import require_stdout
from esps_portal.protocol.registry import PORT


@click.command("inspect", short_help="Show who uses a port, and whether it speaks ESPS/1.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=PORT,
    show_default=True,
    metavar="N",
    help="Port to inspect, TCP and UDP.",
)
@click.option(
    "--host",
    type=HostType(),
    metavar="H",
    help="Inspect only this address or name; if it is another machine, only probe it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--timeout",
    type=Seconds(0, 3600, min_open=True),
    default=1.0,
    show_default=True,
    metavar="S",
    help="Seconds to wait for an answer from each address.",
)
def inspect_command(port: int, host: str | None, as_json: bool, timeout: float) -> None:  # noqa: FBT001 - click passes options by name
    """Show who uses a port on this machine, and whether it speaks ESPS/1.

    Lists each socket on the port (TCP and UDP, IPv4 and IPv6) with its
    process, command line and user; probes each address for ESPS/1, with one
    PING over TCP and one over UDP; shows what is registered for the number;
    and says what is not visible without more rights.

    Exit codes: 0 the port is in use, 1 it is not, 2 bad usage.

    \b
    Examples:
      esps-portal inspect
      esps-portal inspect --port 8080 --json
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    from esps_portal.inspection.report import (  # noqa: PLC0415 - help must not wait for it
        UnknownHostError,
        inspect_port,
    )
    from esps_portal.inspection.text_report import format_report  # noqa: PLC0415 - the same

    require_stdout()
    try:
        report = inspect_port(port, host, timeout)
    except UnknownHostError as error:
        raise click.BadParameter(str(error), param_hint="'--host'") from error
    # JSON is ASCII here: a command line may contain surrogates, which UTF-8 cannot encode.
    lines = [json.dumps(report.as_json())] if as_json else format_report(report)
    click.echo("\n".join(lines))
    raise click.exceptions.Exit(0 if report.in_use else 1)
