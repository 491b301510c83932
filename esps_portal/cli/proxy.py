"""``esps-portal proxy``: stand before a portal, pass everything on, record calls and answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.errors import fail
from esps_portal.cli.options import TargetType
from esps_portal.cli.reloading import Reload, reopen
from esps_portal.cli.script_options import open_record, record_option
from esps_portal.cli.server_runner import listening_options, run, serve_until_signalled
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.cli.reports import Reports
    from esps_portal.proxy.serving import ProxyConfig


@click.command("proxy")
@click.option(
    "--upstream",
    type=TargetType(),
    required=True,
    metavar="TARGET",
    help="The portal: HOST:PORT or esps://HOST:PORT, for TCP and UDP; esps+udp://, for UDP alone.",
)
@record_option
@listening_options
def proxy_command(  # noqa: PLR0913 - click hands every option over as a parameter
    upstream: str,
    record: Path | None,
    hosts: tuple[str, ...],
    port: int,
    *,
    no_tcp: bool,
    no_udp: bool,
    as_json: bool,
    access_log: bool | None,
    log_level: str,
) -> None:
    """Pass everything on to a portal, and record it.

    What a client sees is what the portal sends: bytes, FIN and RST over TCP,
    each datagram over UDP. A client that comes while the portal cannot be
    reached is not greeted, but reset. What passes is recorded as "serve
    --record" does, so that "serve --replay" can stand in for that portal.

    On a terminal each request is a line, once it has ended; --access-log
    writes them elsewhere too. With --json the first line says where the proxy
    listens, as an event "ready", and each connection, request and reply is an
    event; --no-access-log leaves those out.

    SIGINT (Ctrl-C) and SIGTERM let running calls end, then exit 0; a second
    one exits at once. SIGHUP does the same on a terminal; elsewhere it begins
    the --record file anew if it was renamed; under nohup it is ignored.

    \b
    Examples:
      esps-portal proxy --upstream esps://10.0.0.7 --record calls.jsonl
      esps-portal serve --replay calls.jsonl
    """  # noqa: D301 - click wants the character itself in front of what keeps its lines
    where = PortalURL.parse(upstream)
    # With a UDP upstream there is nothing for TCP to do.
    tcp, udp = not no_tcp and where.transport != "udp", not no_udp
    if not (tcp or udp):
        raise click.UsageError("there is neither TCP nor UDP left to pass on")
    from esps_portal.cli.reports import Reports, start_logging  # noqa: PLC0415 - help must not wait
    from esps_portal.journal.journal import Journal  # noqa: PLC0415 - the same
    from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig  # noqa: PLC0415 - the same

    reports = Reports.of(start_logging(log_level), as_json=as_json, access_log=access_log)
    try:
        config = ProxyConfig(
            upstream=where,
            hosts=hosts,
            port=port,
            tcp=tcp,
            udp=udp,
            journal=Journal(kept=1),  # its sinks are told of everything; it is never asked later
        )
    except ValueError as unfit:
        raise click.UsageError(str(unfit)) from unfit
    reloads: list[Reload] = []
    if record is not None:
        file = open_record(record)
        config.journal.sinks.append(file.write)
        reloads.append(partial(reopen, file))
    try:
        run(partial(_proxy, config, reports, reloads), lambda _: "--port")
    except* OwnUpstreamError as group:
        fail(f"esps-portal: {group.exceptions[0]}")


async def _proxy(config: ProxyConfig, reports: Reports, reloads: list[Reload]) -> int:
    from esps_portal.proxy.serving import serve_proxy  # noqa: PLC0415 - help must not wait for it

    reports.watch(config.journal)

    async def begin(*_: object) -> None:
        """Do nothing: a proxy has no control port."""

    return await serve_until_signalled(partial(serve_proxy, config), begin, reports, reloads)
