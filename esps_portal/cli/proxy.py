"""``esps-portal proxy``: relay everything to a portal, and record it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import ServerCommand, TargetType
from esps_portal.cli.reloading import Reload, reopen_record
from esps_portal.cli.script_options import open_record, record_option
from esps_portal.cli.server_runner import (
    ListenOptions,
    listen_options,
    run_server,
    serve_until_signalled,
)
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.cli.reports import Reports
    from esps_portal.proxy.serving import ProxyConfig


@click.command("proxy", cls=ServerCommand)
@click.option(
    "--upstream",
    type=TargetType(),
    required=True,
    metavar="TARGET",
    help="The portal: HOST:PORT or esps://HOST:PORT for TCP and UDP, esps+udp://HOST:PORT for UDP.",
)
@record_option
@listen_options
def proxy_command(*, upstream: PortalURL, record: Path | None, listen: ListenOptions) -> None:
    """Relay everything to a portal, and record it.

    A client gets exactly what the portal sends: bytes, FIN and RST over TCP,
    each datagram over UDP. While the portal cannot be reached, connections
    are reset without a greeting. The recording is the same as that of "serve
    --record", so that "serve --replay" can replace the portal.

    If standard error is a terminal, each request is logged there when it has
    ended; --access-log does the same elsewhere. With --json the first line is
    the event "ready", with the addresses; then each connection, request and
    reply is an event, unless --no-access-log is given.

    SIGINT (Ctrl-C) and SIGTERM let running calls end, then exit 0; a second
    one exits at once. SIGHUP does the same with a terminal; without one it
    creates the --record file again if it was renamed; under nohup it is
    ignored.

    \b
    Examples:
      esps-portal proxy --upstream esps://10.0.0.7 --record calls.jsonl
      esps-portal serve --replay calls.jsonl
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    # A UDP upstream has no TCP to relay.
    tcp, udp = listen.tcp and upstream.transport != "udp", listen.udp
    if not (tcp or udp):
        raise click.UsageError("neither TCP nor UDP is left to relay")
    from esps_portal.journal.journal import Journal  # noqa: PLC0415 - help must not wait
    from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig  # noqa: PLC0415 - the same

    reports = listen.start_reports()
    try:
        config = ProxyConfig(
            upstream=upstream,
            hosts=listen.hosts,
            port=listen.port,
            tcp=tcp,
            udp=udp,
            journal=Journal(max_calls=1),  # nobody queries it: only its sinks need the entries
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    reloads: list[Reload] = []
    if record is not None:
        file = open_record(record)
        config.journal.sinks.append(file.write)
        reloads.append(partial(reopen_record, file))
    try:
        run_server(partial(_proxy, config, reports, reloads), lambda _: "--port")
    except* OwnUpstreamError as group:
        exit_with_error(str(group.exceptions[0]))


async def _proxy(config: ProxyConfig, reports: Reports, reloads: list[Reload]) -> int:
    from esps_portal.proxy.serving import serve_proxy  # noqa: PLC0415 - help must not wait for it

    reports.watch(config.journal)

    async def no_control(*_: object) -> None:
        """Open nothing: a proxy has no control port."""

    return await serve_until_signalled(partial(serve_proxy, config), no_control, reports, reloads)
