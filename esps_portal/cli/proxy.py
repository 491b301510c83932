"""``esps-portal proxy``: relay everything to a server of any protocol, with faults."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import click
from click.core import ParameterSource

from esps_portal.cli.completion import complete_file
from esps_portal.cli.control_options import ControlOptions, control_options, option_of_port
from esps_portal.cli.errors import exit_with_error, ungrouped
from esps_portal.cli.listen_options import ListenOptions, listen_options
from esps_portal.cli.options import ServerCommand
from esps_portal.cli.proxy_options import ProxyOptions, proxy_options
from esps_portal.cli.server_runner import ForegroundServer, run_server
from esps_portal.cli.tls_options import ServerTLSOptions, server_tls_options

if TYPE_CHECKING:
    import ssl

    import trio

    from esps_portal.cli.exchange_server import ExchangeServer
    from esps_portal.cli.reloading import Reload
    from esps_portal.cli.reports import Reports
    from esps_portal.journal.journal import Journal
    from esps_portal.net.listeners import Listeners
    from esps_portal.proxy.serving import ProxyConfig
    from esps_portal.proxy.state import ProxyState

# Seconds between two writes of units that are not complete.
_FLUSH_SECONDS = 0.25


# click keeps the lines of a block after a \b; it joins all others.
_HELP = """\
Relay everything to a server of any protocol, with faults.

A client gets exactly what the server sends: bytes, FIN and RST over TCP,
each datagram over UDP, unless a fault strikes. While the server cannot be
reached, connections are reset.

Faults strike units: a datagram; a frame, with --framing; a call, before
a portal; otherwise an exchange, which begins when the client sends after
the server. A fault takes parameters, and selectors: connection, request
and reply (numbers, as in 1,3; reply=0 is the greeting), match (in what the
client sends: TEXT, re:REGEX or hex:DIGITS) and reply_match, offset (bytes
that pass first), to (client or server), unit=connection, age (seconds),
when, times, chance and seed. A value with spaces is quoted.

TLS passes unchanged, as bytes. With a tls:// upstream the proxy speaks TLS to
it, and verifies its certificate; with --tls-cert and --tls-key, or
--tls-self-signed, clients speak TLS to the proxy. With both, traffic is
TLS outside, and plain text for faults, the log and files.

In a --scenario file a proxy is a table; "run" starts all of them:

\b
  [[proxies]]
  name = "cache"
  upstream = "tcp://127.0.0.1:6379"
  framing = "lines:crlf"         # and reply_framing; or neither
  [[proxies.faults]]
  fault = "reset"
  match = "INCR"
  offset = 2                     # bytes of the reply
  times = 1

If standard error is a terminal, each exchange is logged there when the
next one begins or the connection ends, and each call when it has ended;
--access-log does the same elsewhere. With --json the first line is the
event "ready", with the addresses; then each connection, unit and exchange
(or call) is an event, unless --no-access-log is given.

With --control its faults, journal and outages are at the URL that is printed,
over HTTP; "esps-portal run --help" has the endpoints.

The files of --record and --pcap can be read by their owner only: they may
hold passwords. They have what each side has sent, before faults changed
it. A recording of calls can be served: "serve --replay".

\b
Signals:
  SIGINT (Ctrl-C), SIGTERM  let running calls end, then exit 0;
                            a second one exits at once
  SIGHUP with a terminal    the same: the terminal has closed
  SIGHUP without one        read --scenario again: its faults, and --fault,
                            replace the old ones. Create the files of
                            --record and --pcap again if they were renamed.
  SIGHUP under nohup        ignored

\b
Examples:
  esps-portal proxy --upstream tcp://127.0.0.1:6379 --port 6380
  esps-portal proxy --upstream tcp://127.0.0.1:6379 --port 6380 \\
    --fault "reset match=INCR offset=2 times=1"
  esps-portal proxy --upstream udp://9.9.9.9:53 --fault "drop chance=0.5"
  esps-portal proxy --upstream tcp://10.0.0.7:25 --pcap mail.pcap
  esps-portal proxy --upstream tls://10.0.0.7:6380 --upstream-ca ca.pem \\
    --tls-self-signed --fault "reset match=INCR"
  esps-portal proxy --upstream tcp://10.0.0.7:25 --control 8025
  esps-portal proxy --upstream esps://10.0.0.7 --record calls.jsonl
"""


@click.command("proxy", cls=ServerCommand, help=_HELP)
@proxy_options
@server_tls_options
@click.option(
    "--upstream-ca",
    metavar="FILE",
    shell_complete=complete_file,
    help="Trust the CAs in this PEM file for the upstream's certificate, not the system's.",
)
@listen_options(default_port="the default except before a portal (2867)")
@control_options
def proxy_command(
    *,
    options: ProxyOptions,
    tls: ServerTLSOptions,
    upstream_ca: str | None,
    listen: ListenOptions,
    control: ControlOptions | None,
) -> None:
    """Relay everything to a server of any protocol, with faults."""
    from esps_portal.journal.append_file import CannotRecordError  # noqa: PLC0415 - help must not wait
    from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig  # noqa: PLC0415 - the same

    reports = listen.start_reports()
    options = attrs.evolve(options, issues_certificates=tls.is_own)
    proxied = options.make_server(is_controlled=control is not None)
    upstream = proxied.state.upstream
    is_esps = upstream.is_esps
    if listen.udp and "udp" not in upstream.transports:
        raise click.UsageError(f"--udp: {upstream} is TCP alone; tcp+udp://HOST:PORT is both")
    made = tls.make(listen.hosts, is_esps=is_esps)
    trusted = None if upstream_ca is None else _trusted(upstream_ca, is_esps=is_esps)
    try:
        config = ProxyConfig(
            state=proxied.state,
            hosts=listen.hosts,
            port=_port(listen, proxied),
            tcp=listen.tcp,
            udp=made is None if listen.udp is None else listen.udp,
            tls=made,
            upstream_tls=trusted,
            reserve_port=control is not None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    reloads = [*tls.reloads(made, is_esps=is_esps), *proxied.reloads(reports.report_seed)]
    try:
        with ungrouped(OwnUpstreamError, CannotRecordError):
            run_server(
                partial(_proxy, config, proxied, control, reports, reloads),
                partial(option_of_port, control=control),
            )
    except (OwnUpstreamError, CannotRecordError) as error:
        exit_with_error(str(error))
    finally:
        if made is not None:
            made.close()


def _trusted(path: str, *, is_esps: bool) -> ssl.SSLContext:
    """Return what is trusted of the upstream, or print an error and exit 1."""
    from esps_portal.net.tls_contexts import TLSFileError, client_context  # noqa: PLC0415 - help must not wait
    from esps_portal.protocol.registry import ALPN  # noqa: PLC0415 - the same

    try:
        return client_context(path, alpn=ALPN if is_esps else "")
    except TLSFileError as error:
        exit_with_error(str(error))


def _port(listen: ListenOptions, proxied: ExchangeServer[ProxyState]) -> int:
    """Return the port to listen on: without --port a free one, unless the server is a portal."""
    source = click.get_current_context().get_parameter_source("port")
    is_given = source is not ParameterSource.DEFAULT
    return listen.port if is_given or proxied.state.upstream.is_esps else 0


async def _proxy(
    config: ProxyConfig,
    proxied: ExchangeServer[ProxyState],
    control: ControlOptions | None,
    reports: Reports,
    reloads: Sequence[Reload],
) -> int:
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.proxy.serving import serve_proxy  # noqa: PLC0415 - the same

    proxied.start(trio.current_time())
    upstream = config.state.upstream
    proxied.open_capture((upstream.host, upstream.port), trio.current_time())
    reports.watch(config.state.journal)

    async def on_listening(nursery: trio.Nursery, listeners: Listeners) -> str | None:
        """Start what runs beside the proxy."""
        nursery.start_soon(flush_units, config.state.exchanges)
        return await proxied.open_control(control, nursery, listeners, reports.report_seed)

    server = ForegroundServer(
        serve=partial(serve_proxy, config),
        on_listening=on_listening,
        reports=reports,
        reloads=reloads,
        upstream=str(upstream),
        tls=config.tls,
    )
    status = await server.run()
    proxied.log_never_struck()
    return status or proxied.exit_code


async def flush_units(journal: Journal) -> None:
    """Write what was sent to the files and events soon, though the end of a unit is not known yet.

    Otherwise a reply would only be there when the client sends again, and never after a kill -9.
    It sleeps while nothing waits to be written.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    while True:
        journal.flush()  # also what came before this task began
        waiting = trio.Event()
        journal.units.on_waiting = waiting.set
        await waiting.wait()
        await trio.sleep(_FLUSH_SECONDS)
