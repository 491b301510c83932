"""``esps-portal proxy``: stand before a portal, pass everything on, record calls and answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.foreground import (
    listening_options,
    run,
    serve_until_signalled,
    start_logging,
)
from esps_portal.cli.scripted_serve import open_record, record_option
from esps_portal.cli.words import URLType, fail
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.server.proxy import ProxyConfig


@click.command("proxy")
@click.option(
    "--upstream",
    type=URLType(),
    required=True,
    help="The portal: esps://HOST[:PORT], for TCP and UDP; or esps+udp://, for UDP alone.",
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
    log_level: str,
) -> None:
    """Pass everything on to a portal, and record it.

    What a client sees is what the portal sends: octets, FIN and RST over TCP,
    each datagram over UDP. A client that comes while the portal cannot be
    reached is not greeted, but reset. What passes is recorded as "serve
    --record" does, so that "serve --replay" can stand in for that portal.

    SIGINT (Ctrl-C) and SIGTERM let running calls end, then exit 0; a second
    one exits at once. With --json the first line tells where it listens, as
    an event "ready", and an event for every connection, request and answer
    follows.

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
    start_logging(log_level)
    from esps_portal.portal.journal import Journal  # noqa: PLC0415 - help must not wait for it
    from esps_portal.server.proxy import OwnUpstreamError, ProxyConfig  # noqa: PLC0415 - the same

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
    if record is not None:
        config.journal.sinks.append(open_record(record).write)
    try:
        run(partial(_proxy, config, as_json=as_json), lambda _: "--port")
    except* OwnUpstreamError as group:
        fail(f"esps-portal: {group.exceptions[0]}")


async def _proxy(config: ProxyConfig, *, as_json: bool) -> int:
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.cli.events import Events  # noqa: PLC0415 - the same
    from esps_portal.portal.journal_plain import plain_entry  # noqa: PLC0415 - the same
    from esps_portal.server.proxy import serve_proxy  # noqa: PLC0415 - the same

    events = Events() if as_json else None
    config.journal.start = trio.current_time()
    if events is not None:
        put = events.put
        config.journal.sinks.append(lambda entry: put(plain_entry(entry)))

    async def begin(*_: object) -> None:
        """Do nothing: a proxy has no control port."""

    return await serve_until_signalled(
        partial(serve_proxy, config), begin, as_json=as_json, events=events
    )
