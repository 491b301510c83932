"""``esps-portal proxy``: stand before a portal, pass everything on, record calls and answers."""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.scripted_serve import open_record, record_option
from esps_portal.cli.serve import announce, end_on_signal, who_has_it
from esps_portal.cli.words import HostType, URLType, fail
from esps_portal.protocol.registry import PORT
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    import trio

    from esps_portal.server.proxy import ProxyConfig, ProxyListening

_LEVELS = ("debug", "info", "warning", "error")


@click.command("proxy")
@click.option(
    "--upstream",
    type=URLType(),
    required=True,
    help="The portal: esps://HOST[:PORT], for TCP and UDP; or esps+udp://, for UDP alone.",
)
@record_option
@click.option(
    "--host",
    "hosts",
    type=HostType(),
    multiple=True,
    default=("127.0.0.1",),
    show_default=True,
    help="Name or address to listen on; may be repeated.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port for TCP and UDP; 0 takes one that is free for both.",
)
@click.option("--no-tcp", is_flag=True, help="Do not listen for TCP.")
@click.option("--no-udp", is_flag=True, help="Do not listen for UDP.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS),
    default="info",
    show_default=True,
    help="How much to log on standard error.",
)
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
    # An upstream for UDP leaves nothing for TCP to do.
    tcp, udp = not no_tcp and where.transport != "udp", not no_udp
    if not (tcp or udp):
        raise click.UsageError("there is neither TCP nor UDP left to pass on")
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.portal.journal import Journal  # noqa: PLC0415 - the same
    from esps_portal.server.binding import CannotBindError  # noqa: PLC0415 - the same
    from esps_portal.server.proxy import OwnUpstreamError, ProxyConfig  # noqa: PLC0415 - the same

    try:
        config = ProxyConfig(
            upstream=where,
            hosts=hosts,
            port=port,
            tcp=tcp,
            udp=udp,
            journal=Journal(kept=1),  # its sinks hear of everything; nobody asks it later
        )
    except ValueError as unfit:
        raise click.UsageError(str(unfit)) from unfit
    if record is not None:
        config.journal.sinks.append(open_record(record).write)
    try:
        trio.run(_proxy, config, as_json)
    except* CannotBindError as group:
        error = group.exceptions[0]
        assert isinstance(error, CannotBindError)  # noqa: S101 - so says the line above
        fail(f"esps-portal: {error}{who_has_it(error, '--port')}")
    except* OwnUpstreamError as group:
        fail(f"esps-portal: {group.exceptions[0]}")
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None


async def _proxy(config: ProxyConfig, as_json: bool) -> None:  # noqa: FBT001 - trio.run
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.cli.events import Events  # noqa: PLC0415 - the same
    from esps_portal.portal.journal_plain import plain_entry  # noqa: PLC0415 - the same
    from esps_portal.server.activation import notify  # noqa: PLC0415 - the same
    from esps_portal.server.proxy import serve_proxy  # noqa: PLC0415 - the same

    events = Events() if as_json else None
    config.journal.start = trio.current_time()
    if events is not None:
        put = events.put
        config.journal.sinks.append(lambda entry: put(plain_entry(entry)))
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def served(*, task_status: trio.TaskStatus[ProxyListening]) -> None:
                await serve_proxy(config, task_status=task_status)
                ended.set()

            listening = await nursery.start(served)
            announce(listening, None, as_json=as_json)
            if events is not None:
                nursery.start_soon(events.run)
            notify(os.environ, "READY=1")
            nursery.start_soon(end_on_signal, signals, listening, nursery.cancel_scope)
            await ended.wait()
            if events is not None:
                await events.finish({"event": "stopped"})
            nursery.cancel_scope.cancel()
