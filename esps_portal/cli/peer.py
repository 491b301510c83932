"""``esps-portal peer``: play the server of any protocol, from stubs or a recording."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import attrs
import click
from click.core import ParameterSource

from esps_portal.cli.control_options import ControlOptions, control_options, option_of_port
from esps_portal.cli.errors import exit_with_error, ungrouped
from esps_portal.cli.listen_options import ListenOptions, listen_options
from esps_portal.cli.options import ServerCommand
from esps_portal.cli.peer_options import PeerOptions, peer_options
from esps_portal.cli.server_runner import ForegroundServer, run_server
from esps_portal.cli.tls_options import ServerTLSOptions, server_tls_options
from esps_portal.log import log
from esps_portal.protocol.escape import visible

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.exchange_server import ExchangeServer
    from esps_portal.cli.reloading import Reload
    from esps_portal.cli.reports import Reports
    from esps_portal.net.listeners import Listeners
    from esps_portal.peer.serving import PeerConfig
    from esps_portal.peer.state import PeerState

# click keeps the lines of a block after a \b; it joins all others.
_HELP = """\
Play the server of any protocol, from stubs or a recording.

The framing says where one message of the protocol ends; stubs of a
--scenario answer the frames that match. A frame that no stub answers is
logged, and its connection closed. With the framing "datagrams" the peer is
served over UDP; with any other over TCP, and with --udp over both on one
port, where a datagram is a frame as it is.

\b
  [[peers]]
  name = "mail"
  framing = "lines:crlf"
  greeting = "220 ready"           # or a list; a frame each
  [[peers.stubs]]
  match = {regex = "(?i)^(ehlo|mail)"}  # or the whole frame: text, {hex}
  reply = "250 ok"                 # or a list; [] sends nothing
  [[peers.stubs]]
  match = {regex = "(?i)^rcpt"}    # first, then
  answers = [{reply = "450 later", times = 2}, {reply = "250 ok"}]
  [[peers.stubs]]
  match = "QUIT"
  reply = "221 bye"                # or raw = {hex = "..."}: as it is
  delay = 0.1                      # seconds
  then_close = true                # or then_reset
  echo = [0, 2]                    # these bytes of the frame are copied
  [[peers.faults]]
  fault = "reset"
  match = "RCPT"

With --replay the peer answers from a recording of "esps-portal proxy": a
reply comes once the client's bytes equal a recorded unit; if a longer unit
begins with the same bytes, after 50 ms.

With --control its stubs, faults, journal and outages are at the URL that is
printed, over HTTP; "esps-portal run --help" has the endpoints.

With --tls-cert and --tls-key, or --tls-self-signed, TCP is TLS; the log and
files have plain text.

Faults strike frames, or datagrams; "esps-portal proxy --help" says how. If
standard error is a terminal, each frame and its reply is logged there;
--access-log does the same elsewhere. With --json the first line is the
event "ready", with the addresses; then each connection, unit and exchange
is an event, unless --no-access-log is given.

The files of --record and --pcap can be read by their owner only. They have
what each side has sent, before faults changed it.

\b
Signals:
  SIGINT (Ctrl-C), SIGTERM  answer what has come, then exit 0;
                            a second one exits at once
  SIGHUP with a terminal    the same: the terminal has closed
  SIGHUP without one        read --scenario again: its stubs and faults, and
                            --fault, replace the old ones. Create the files
                            of --record and --pcap again if they were
                            renamed.
  SIGHUP under nohup        ignored

\b
Examples:
  esps-portal peer --framing lines:crlf --greeting "421 try later" --port 2525
  esps-portal peer --scenario mail.toml --fault "stall match=re:^DATA"
  esps-portal peer --framing lines:crlf --control 8025
  esps-portal peer --replay redis.jsonl --port 6379
  esps-portal peer --framing datagrams --scenario dns.toml --name dns
"""


@click.command("peer", cls=ServerCommand, help=_HELP)
@peer_options
@server_tls_options
@listen_options(
    default_port="the default",
    udp_help="Listen on UDP as well as on TCP; a datagram is a frame then.",
)
@control_options
def peer_command(
    *,
    options: PeerOptions,
    tls: ServerTLSOptions,
    listen: ListenOptions,
    control: ControlOptions | None,
) -> None:
    """Play the server of any protocol, from stubs or a recording."""
    from esps_portal.journal.append_file import CannotRecordError  # noqa: PLC0415 - help must not wait
    from esps_portal.peer.serving import PeerConfig  # noqa: PLC0415 - the same

    reports = listen.start_reports()
    options = attrs.evolve(options, issues_certificates=tls.is_own)
    played = options.make_server(udp=listen.udp, is_controlled=control is not None)
    _check_transports(listen, played)
    source = click.get_current_context().get_parameter_source("port")
    port = 0 if source is ParameterSource.DEFAULT else listen.port
    made = tls.make(listen.hosts, is_esps=False)
    try:
        config = PeerConfig(
            state=played.state,
            hosts=listen.hosts,
            port=port,
            tls=made,
            reserve_port=control is not None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    reloads = tls.reloads(made, is_esps=False)
    try:
        with ungrouped(CannotRecordError):
            run_server(
                partial(_peer, config, played, control, reports, reloads),
                partial(option_of_port, control=control),
            )
    except CannotRecordError as error:
        exit_with_error(str(error))
    finally:
        if made is not None:
            made.close()


def _check_transports(listen: ListenOptions, played: ExchangeServer[PeerState]) -> None:
    """Check what was given of transports: the framing decides, and --udp adds one."""
    transports = played.state.transports
    if "tcp" in transports and not listen.tcp:
        raise click.UsageError("--no-tcp: a peer over UDP alone has --framing datagrams")
    if listen.udp is False and "udp" in transports:
        raise click.UsageError("--no-udp: this peer is for UDP")


async def _peer(
    config: PeerConfig,
    played: ExchangeServer[PeerState],
    control: ControlOptions | None,
    reports: Reports,
    reloads: Sequence[Reload],
) -> int:
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.peer.serving import serve_peer  # noqa: PLC0415 - the same

    played.start(trio.current_time())
    reports.watch(config.state.journal)
    config.state.script.on_unexpected = _log_unexpected

    async def on_listening(nursery: trio.Nursery, listeners: Listeners) -> str | None:
        """Start what runs beside the peer."""
        played.open_capture((*listeners.tcp, *listeners.udp)[0], trio.current_time())
        return await played.open_control(control, nursery, listeners, reports.report_seed)

    server = ForegroundServer(
        serve=partial(serve_peer, config),
        on_listening=on_listening,
        reports=reports,
        reloads=[*reloads, *played.reloads(reports.report_seed)],
        tls=config.tls,
    )
    status = await server.run()
    played.log_never_struck()
    return status or played.exit_code


def _log_unexpected(frame: str, where: str, why: str) -> None:
    log.warning("unexpected frame (%s): %s: %s", where, visible(frame), visible(why))
