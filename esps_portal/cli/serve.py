"""``esps-portal serve``: a portal in the foreground, until a signal ends it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.control_options import ControlOptions, control_options, option_of_port
from esps_portal.cli.errors import exit_with_error, ungrouped
from esps_portal.cli.listen_options import ListenOptions, listen_options
from esps_portal.cli.metrics import ServedMetrics, metrics_option
from esps_portal.cli.options import ListenAddress, ServerCommand
from esps_portal.cli.proxies_and_peers import prepare_servers, start_servers
from esps_portal.cli.script_options import ScriptOptions, script_options
from esps_portal.cli.scripted_server import ScriptedServer, make_server
from esps_portal.cli.server_runner import ForegroundServer, run_server
from esps_portal.cli.tls_options import ServerTLSOptions, server_tls_options

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.reloading import Reload
    from esps_portal.cli.reports import Reports
    from esps_portal.control.named_servers import NamedServer, PreparedServer
    from esps_portal.net.bind import CannotBindError
    from esps_portal.net.listeners import Listeners
    from esps_portal.server.serving import ServerConfig

# click keeps the lines of a block after a \b; it joins all others.
_HELP = """\
Serve a portal with all built-in services.

The default port, 2867, needs no root. The wildcard :: accepts IPv6 only;
for both use --host :: --host 0.0.0.0. Sockets from systemd (LISTEN_FDS)
replace --host and --port; NOTIFY_SOCKET is notified when the portal
listens, reloads and stops, and as often as WATCHDOG_USEC asks for.

With --tls-cert and --tls-key TCP is TLS, from its first byte, and UDP is not
served unless --udp says so: it stays plain. Clients use esps+tls://HOST. For
tests --tls-self-signed makes a CA and a certificate that end with the portal;
clients trust the CA's file, which is printed (in "ready": "tls_ca").

Processes of one user share a port if each has --reuse-port. The kernel
assigns each connection to one of them, and over UDP each client; a client
may move when a process starts or ends. Each process counts, limits and
remembers on its own, so --control, which reaches only one, is refused. With
--port 0 the first takes a free port; give the others its number.

The file of --scenario may have [[proxies]] and [[peers]] as well, which are
started on free ports of 127.0.0.1: "ready" has their addresses by name, and
--control their faults and journals. "esps-portal run --help" shows a file.

If standard error is a terminal, each request is logged there when it has
ended; --access-log does the same elsewhere. With --json the first line is
the event "ready", with the addresses; then each connection, request and
reply is an event, unless --no-access-log is given. --log-format json makes
each line of standard error an object, with the same keys.

\b
Signals:
  SIGINT (Ctrl-C), SIGTERM  let running calls end, then exit 0;
                            a second one exits at once
  SIGHUP with a terminal    the same: the terminal has closed
  SIGHUP without one        read --scenario and --replay again: their stubs
                            and faults, and --fault, replace the old ones;
                            connections stay open, and proxies and peers
                            stay as they are. Read the TLS files again, for
                            new connections. Create the --record file again
                            if it was renamed. After an error in a file
                            nothing changes.
  SIGHUP under nohup        ignored

A fault takes parameters, and selectors: service, transport, connection,
request and reply (numbers, as in 1,3; reply=0 is the greeting), match (in
the request: TEXT, re:REGEX or hex:DIGITS) and reply_match, offset (bytes
that pass first), unit=connection, age (seconds), when, times, chance and
seed. A value with spaces is quoted.

With --metrics each request is observed, which costs some speed. Metrics
are esps_portal_* and process_*; /healthz is 200, and 503 while it closes.

It keeps running if the reader of its output has gone: a launcher may close
the pipe after the first line.

\b
Examples:
  esps-portal serve --port 0 --json --control
  esps-portal serve --reuse-port & esps-portal serve --reuse-port
  esps-portal serve --fault "reset service=echo when=before times=2"
  esps-portal serve --fault "reset match=INCR offset=2"
  esps-portal serve --fault "close age=60 chance=0.5 seed=3"
  esps-portal serve --metrics 9867
  esps-portal serve --tls-cert cert.pem --tls-key key.pem
  esps-portal serve --tls-self-signed --port 0 --json
  esps-portal serve --record calls.jsonl
  esps-portal serve --replay calls.jsonl
"""


@click.command("serve", cls=ServerCommand, help=_HELP)
@listen_options()
@click.option(
    "--reuse-port",
    is_flag=True,
    help="Share the port with other processes that do the same, to use more than one core.",
)
@click.option(
    "--require-hello",
    is_flag=True,
    help="End a TCP connection whose first line is not HELLO ESPS/1.",
)
@click.option(
    "--proxy-protocol",
    is_flag=True,
    help="Expect the PROXY header (v1 or v2) of a load balancer on each TCP connection.",
)
@control_options
@metrics_option
@server_tls_options
@script_options
def serve_command(  # noqa: PLR0913 - click passes each option as a parameter
    *,
    listen: ListenOptions,
    reuse_port: bool,
    require_hello: bool,
    proxy_protocol: bool,
    control: ControlOptions | None,
    metrics: ListenAddress | None,
    tls: ServerTLSOptions,
    script: ScriptOptions,
) -> None:
    """Serve a portal with all built-in services."""
    if not listen.tcp and listen.udp is False:
        raise click.UsageError("--no-tcp and --no-udp leave nothing to serve")
    if reuse_port and control is not None:
        raise click.UsageError(
            "--control reaches one process: with --reuse-port a client may reach another"
        )
    reports = listen.start_reports()
    config = _config(listen, script, tls, reuse_port=reuse_port)
    config = attrs.evolve(config, require_hello=require_hello, proxy_protocol=proxy_protocol)
    scripted, served_metrics = None, None
    if reports.needs_journal or control is not None or metrics is not None or script.are_given:
        if control is not None and config.sockets is not None:
            exit_with_error(
                "--control needs ports that it can close and open again, not inherited sockets"
            )
        is_own = config.tls is not None and config.tls.ca_file is not None
        scripted = make_server(
            script, is_controlled=control is not None, issues_certificates=is_own
        )
        config = attrs.evolve(config, portal=scripted.portal, reserve_port=control is not None)
        if metrics is not None:
            served_metrics = ServedMetrics.of(scripted.portal, metrics)

    def option_of(error: CannotBindError) -> str:
        is_own = error.host in listen.hosts and error.port == listen.port
        if metrics is not None and error.port == metrics.port and not is_own:
            return "--metrics"
        return option_of_port(error, control)

    reloads = tls.reloads(config.tls)
    prepared = prepare_servers(script.scenario, reports.report_seed)
    served = _Served(config, scripted, control, served_metrics, reloads, prepared)
    try:
        _run(served, reports, option_of)
    finally:
        if config.tls is not None:
            config.tls.close()


def _run(served: _Served, reports: Reports, option_of: Callable[[CannotBindError], str]) -> None:
    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - help must not wait

    try:
        with ungrouped(ScenarioError):
            run_server(partial(_serve, served, reports), option_of)
    except ScenarioError as error:  # of a proxy that would relay to itself
        exit_with_error(error.message)


def _config(
    listen: ListenOptions, script: ScriptOptions, tls: ServerTLSOptions, *, reuse_port: bool
) -> ServerConfig:
    """Return what to serve, on sockets of a service manager if there are any."""
    from esps_portal.net.systemd import inherited_sockets  # noqa: PLC0415 - help must not wait
    from esps_portal.product import PRODUCT  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig  # noqa: PLC0415 - the same
    from esps_portal.services.builtin_portal import builtin_portal  # noqa: PLC0415 - the same

    try:
        sockets = inherited_sockets(os.environ)
    except ValueError as error:
        exit_with_error(f"cannot use the inherited sockets: {error}")
    if reuse_port and sockets is not None:
        exit_with_error(
            "--reuse-port is not for inherited sockets: set ReusePort=yes in the socket unit"
        )
    if tls.are_given and not listen.tcp:
        raise click.UsageError("TLS needs TCP: leave out --no-tcp")
    made = tls.make(listen.hosts)
    return ServerConfig(
        portal=builtin_portal(PRODUCT, script.make_limits()),
        hosts=listen.hosts,
        port=listen.port,
        tcp=listen.tcp,
        # With TLS nobody expects that the port also answers in the clear.
        udp=made is None if listen.udp is None else listen.udp,
        sockets=sockets,
        reuse_port=reuse_port,
        tls=made,
    )


@attrs.frozen
class _Served:
    """What is served, and what is beside it; ``None`` for what was not requested.

    Attributes:
        reloads: what SIGHUP reloads, besides what scripts the portal.
        prepared: the proxies and peers of the scenario, by their kind.
    """

    config: ServerConfig
    scripted: ScriptedServer | None
    control: ControlOptions | None
    metrics: ServedMetrics | None
    reloads: Sequence[Reload]
    prepared: Mapping[str, Sequence[PreparedServer]]


async def _serve(served: _Served, reports: Reports) -> int:
    from esps_portal.server.serving import serve  # noqa: PLC0415 - help must not wait for it

    config, scripted, control = served.config, served.scripted, served.control
    on_fault = reports.report_seed
    started: dict[str, list[NamedServer]] = {}
    if scripted is not None:
        reports.watch(scripted.portal.script.journal)

    async def on_listening(nursery: trio.Nursery, listeners: Listeners) -> str | None:
        if scripted is None:
            return None
        if control is not None or served.prepared:
            from esps_portal.control.server_kinds import servers_beside  # noqa: PLC0415 - the same

            beside = servers_beside(nursery, on_fault)
            started.update(await start_servers(served.prepared, beside))
        url = None
        if control is not None:
            from esps_portal.control.portal_controls import portal_controls  # noqa: PLC0415 - the same

            controls = portal_controls(scripted.portal, listeners.ports, on_fault)
            url = await control.open(nursery, controls, beside)
        for fault in scripted.faults:
            on_fault(fault)
        return url

    server = ForegroundServer(
        serve=partial(serve, config),
        on_listening=on_listening,
        reports=reports,
        reloads=[*served.reloads, *(scripted.reloads(on_fault) if scripted is not None else ())],
        dual_stack=config.sockets is not None and config.sockets.take_ipv4_on_ipv6,
        open_metrics=None if served.metrics is None else served.metrics.open,
        tls=config.tls,
        beside=started,
    )
    status = await server.run()
    return status or (0 if scripted is None else scripted.exit_code)
