"""``esps-portal serve``: a portal in the foreground, until a signal ends it."""

from __future__ import annotations

import logging
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import fail
from esps_portal.cli.script_files import ScriptFile
from esps_portal.cli.script_options import Script, control_option, scripted_options
from esps_portal.cli.server_runner import listening_options, run, serve_until_signalled

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.reports import Reports
    from esps_portal.faults.fault import Fault
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.scenario import PlannedFault, Scenario
    from esps_portal.net.bind import CannotBindError
    from esps_portal.server.serving import Listening, ServerConfig


@click.command("serve")
@listening_options
@control_option
@scripted_options
def serve_command(  # noqa: PLR0913 - click hands every option over as a parameter
    hosts: tuple[str, ...],
    port: int,
    *,
    no_tcp: bool,
    no_udp: bool,
    as_json: bool,
    access_log: bool | None,
    log_level: str,
    control: int | None,
    scenario: ScriptFile[Scenario] | None,
    faults: tuple[PlannedFault, ...],
    replay: ScriptFile[list[RecordedAnswer]] | None,
    record: Path | None,
) -> None:
    """Serve a portal with all bundled services.

    No rights are needed: 2867 is a registered port. The wildcard :: takes
    IPv6 alone; for both give --host :: --host 0.0.0.0. Sockets handed over by
    systemd (LISTEN_FDS) are served in place of --host and --port, and
    NOTIFY_SOCKET is notified when the portal listens.

    On a terminal each request is a line, once it has ended; --access-log
    writes them elsewhere too. With --json the first line says where the portal
    listens, as an event "ready", and each connection, request and reply is an
    event; --no-access-log leaves those out.

    \b
    Signals:
      SIGINT (Ctrl-C), SIGTERM  let running calls end, then exit 0;
                                a second one exits at once
      SIGHUP on a terminal      the same: the terminal has gone
      SIGHUP elsewhere          read --scenario and --replay again: their stubs
                                and faults, and --fault, replace all that are
                                placed, and connections stay open; begin the
                                --record file anew if it was renamed. A bad
                                file changes nothing.
      SIGHUP under nohup        ignored

    \b
    Examples:
      esps-portal serve --port 0 --json --control
      esps-portal serve --fault "reset service=echo when=before times=2"
      esps-portal serve --record calls.jsonl
      esps-portal serve --replay calls.jsonl
    """  # noqa: D301 - click wants the character itself in front of what keeps its lines
    if no_tcp and no_udp:
        raise click.UsageError("--no-tcp and --no-udp leave nothing to serve")
    from esps_portal.cli.reports import Reports, start_logging  # noqa: PLC0415 - help must not wait
    from esps_portal.net.systemd import inherited_sockets  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig  # noqa: PLC0415 - the same

    reports = Reports.of(start_logging(log_level), as_json=as_json, access_log=access_log)
    try:
        sockets = inherited_sockets(os.environ)
    except ValueError as unfit:
        fail(f"esps-portal: cannot serve on what was handed over: {unfit}")
    config = ServerConfig(hosts=hosts, port=port, tcp=not no_tcp, udp=not no_udp, sockets=sockets)
    script = None
    wanted = (control, scenario, faults or None, replay, record)
    if reports.needs_journal or any(option is not None for option in wanted):
        if control is not None and sockets is not None:
            fail(
                "esps-portal: --control needs ports of its own: it cannot take inherited ones down"
            )
        script = Script.of(scenario, faults, control, replay, record)
        config = attrs.evolve(config, portal=script.portal, hold=control is not None)

    def option_of(error: CannotBindError) -> str:
        return "--control" if error.port == control else "--port"

    run(partial(_serve, config, script, reports), option_of)


async def _serve(config: ServerConfig, script: Script | None, reports: Reports) -> int:
    from esps_portal.server.serving import serve  # noqa: PLC0415 - help must not wait for it

    on_fault = partial(_tell_fault, reports)
    if script is not None:
        reports.watch(script.portal.script.journal)

    async def begin(nursery: trio.Nursery, listening: Listening) -> tuple[str, int] | None:
        if script is None:
            return None
        control = await script.begin(nursery, listening, on_fault)
        for fault in script.faults:
            on_fault(fault)
        return control

    return await serve_until_signalled(
        partial(serve, config),
        begin,
        reports,
        script.reloads(on_fault) if script is not None else (),
        dual_stack=config.sockets is not None and config.sockets.take_ipv4_on_ipv6,
    )


def _tell_fault(reports: Reports, fault: Fault) -> None:
    """Print the seed of a fault by chance, without which it cannot be reproduced."""
    if fault.seed is None:
        return
    if reports.events is None:
        logging.getLogger("esps_portal").info("fault by chance: %s", fault)
    else:
        reports.events.put({"event": "fault", "fault": str(fault), "seed": fault.seed})
