"""``esps-portal inspect``: who uses a port, and whether it speaks ESPS/1."""

from __future__ import annotations

from typing import Any

import attrs
import click

from esps_portal.cli.options import HostType, Integer, TargetType, timeout_option
from esps_portal.cli.output import print_json, require_stdout, terminal_width
from esps_portal.protocol.registry import PORT

_PORT_TYPE = Integer(1, 65535)


@attrs.frozen
class _Place:
    """What to inspect: a port of a host; ``None`` is this machine, all its addresses.

    Attributes:
        named_by: the parameter that named the host, for an error.
    """

    port: int
    host: str | None = None
    named_by: str = "--host"


class _PlaceType(click.ParamType[_Place]):
    """The address of a portal, as all commands take it, or only a port."""

    name = "target"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> _Place:
        """Return the place."""
        text: Any = value
        if text.isascii() and text.isdigit():
            return _Place(_PORT_TYPE.convert(text, param, ctx))
        url = TargetType().convert(text, param, ctx)
        named_by = "--url" if isinstance(param, click.Option) else "TARGET"
        return _Place(url.port, url.host, named_by)


@click.command("inspect", short_help="Show who uses a port, and whether it speaks ESPS/1.")
@click.argument("target", required=False, type=_PlaceType())
@click.option("--url", type=_PlaceType(), metavar="TARGET", help="The same as the argument TARGET.")
@click.option(
    "--port",
    type=_PORT_TYPE,
    metavar="N",
    help=f"Port to inspect, TCP and UDP; {PORT} by default.",
)
@click.option(
    "--host",
    type=HostType(),
    metavar="H",
    help="Inspect only this address or name; if it is another machine, only probe it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@timeout_option("Seconds to wait for an answer from each address.", 1.0, most=3600, metavar="S")
def inspect_command(  # noqa: PLR0913 - click hands every option over as a parameter
    target: _Place | None,
    url: _Place | None,
    port: int | None,
    host: str | None,
    timeout: float,
    *,
    as_json: bool,
) -> None:
    """Show who uses a port on this machine, and whether it speaks ESPS/1.

    TARGET is PORT, HOST, HOST:PORT, [::1]:PORT or a URL; it stands for --port
    and --host. Without a host it is about all addresses of this machine.

    Lists each socket on the port (TCP and UDP, IPv4 and IPv6) with its
    process, command line and user; probes each address for ESPS/1, with one
    PING over TCP and one over UDP; shows what is registered for the number;
    and says what is not visible without more rights.

    Exit codes: 0 the port is in use, 1 it is not, 2 bad usage.

    \b
    Examples:
      esps-portal inspect
      esps-portal inspect 8080 --json
      esps-portal inspect -W 3 192.0.2.7:2867
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    from esps_portal.inspection.report import (  # noqa: PLC0415 - help must not wait for it
        UnknownHostError,
        inspect_port,
    )
    from esps_portal.inspection.text_report import (  # noqa: PLC0415 - the same
        DEFAULT_WIDTH,
        format_report,
    )

    require_stdout()
    place = _named_place(target, url, port, host)
    try:
        report = inspect_port(place.port, place.host, timeout)
    except UnknownHostError as error:
        raise click.BadParameter(str(error), param_hint=f"'{place.named_by}'") from error
    if as_json:
        # JSON is ASCII here: a command line may contain surrogates, which UTF-8 cannot encode.
        print_json(report.as_json())
    else:
        click.echo("\n".join(format_report(report, terminal_width() or DEFAULT_WIDTH)))
    raise click.exceptions.Exit(0 if report.in_use else 1)


def _named_place(
    target: _Place | None, url: _Place | None, port: int | None, host: str | None
) -> _Place:
    """Return what to inspect.

    Raises:
        click.UsageError: it was named in two ways.
    """
    if target is not None and url is not None:
        raise click.UsageError("give TARGET or --url, not both")
    place = target or url
    if place is None:
        return _Place(PORT if port is None else port, host)
    if port is not None or host is not None:
        name = "TARGET" if target is not None else "--url"
        other = "--port" if port is not None else "--host"
        raise click.UsageError(f"give {name} or {other}, not both")
    return place
