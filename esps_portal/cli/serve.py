"""``esps-portal serve``: a portal in the foreground, until SIGINT or SIGTERM."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.output import CannotWriteError
from esps_portal.cli.scripted_serve import Script, control_option, scripted_options, write_entries
from esps_portal.cli.words import HostType, fail, print_json
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    from esps_portal.cli.events import Events
    from esps_portal.portal.faults import Fault
    from esps_portal.portal.recording import RecordedAnswer
    from esps_portal.portal.scenario import PlannedFault, Scenario
    from esps_portal.server.binding import CannotBindError
    from esps_portal.server.proxy import ProxyListening
    from esps_portal.server.serving import Listening, ServerConfig

_LEVELS = ("debug", "info", "warning", "error")


@click.command("serve")
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
@click.option("--no-tcp", is_flag=True, help="Do not serve TCP.")
@click.option("--no-udp", is_flag=True, help="Do not serve UDP.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@click.option(
    "--log-level",
    type=click.Choice(_LEVELS),
    default="info",
    show_default=True,
    help="How much to log on standard error.",
)
@control_option
@scripted_options
def serve_command(  # noqa: PLR0913 - click hands every option over as a parameter
    hosts: tuple[str, ...],
    port: int,
    *,
    no_tcp: bool,
    no_udp: bool,
    as_json: bool,
    log_level: str,
    control: int | None,
    scenario: Scenario | None,
    faults: tuple[PlannedFault, ...],
    replay: list[RecordedAnswer] | None,
    record: Path | None,
) -> None:
    """Serve a portal with all bundled services.

    No rights are needed: 2867 is a registered port. SIGINT (Ctrl-C) and
    SIGTERM let running calls end, then exit 0; a second one exits at once.
    Sockets handed over by systemd (LISTEN_FDS) are served in place of --host
    and --port, and NOTIFY_SOCKET is told when the portal listens.

    With --json the first line tells where it listens, as an event "ready".
    A portal with --control, --scenario, --fault, --replay or --record goes on
    with an event for every connection, request and answer.

    \b
    Examples:
      esps-portal serve --port 0 --json --control
      esps-portal serve --fault "reset service=echo when=before times=2"
      esps-portal serve --record calls.jsonl
      esps-portal serve --replay calls.jsonl
    """  # noqa: D301 - click wants the character itself in front of what keeps its lines
    if no_tcp and no_udp:
        raise click.UsageError("--no-tcp and --no-udp leave nothing to serve")
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.server.activation import inherited_sockets  # noqa: PLC0415 - the same
    from esps_portal.server.binding import CannotBindError  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig  # noqa: PLC0415 - the same

    try:
        sockets = inherited_sockets(os.environ)
    except ValueError as unfit:
        fail(f"esps-portal: cannot serve on what was handed over: {unfit}")
    config = ServerConfig(hosts=hosts, port=port, tcp=not no_tcp, udp=not no_udp, sockets=sockets)
    script = None
    wanted = (control, scenario, faults or None, replay, record)
    if any(option is not None for option in wanted):
        if control is not None and sockets is not None:
            fail(
                "esps-portal: --control needs ports of its own: it cannot take inherited ones down"
            )
        script = Script.of(scenario, faults, control, replay, record)
        config = attrs.evolve(config, portal=script.portal, hold=control is not None)
    try:
        trio.run(_serve, config, script, as_json)
    except* CannotBindError as group:
        error = group.exceptions[0]
        assert isinstance(error, CannotBindError)  # noqa: S101 - so says the line above
        option = "--control" if error.port == control else "--port"
        fail(f"esps-portal: {error}{who_has_it(error, option)}")
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(128 + signal.SIGINT) from None


async def _serve(config: ServerConfig, script: Script | None, as_json: bool) -> None:  # noqa: FBT001 - trio.run
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.cli.events import Events  # noqa: PLC0415 - the same
    from esps_portal.server.activation import notify  # noqa: PLC0415 - the same
    from esps_portal.server.serving import serve  # noqa: PLC0415 - the same

    events = Events() if as_json and script is not None else None
    if script is not None:
        script.portal.script.journal.start = trio.current_time()
        if events is not None:
            write_entries(script.portal, events)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def served(*, task_status: trio.TaskStatus[Listening]) -> None:
                await serve(config, task_status=task_status)
                ended.set()

            listening = await nursery.start(served)
            control = None
            if script is not None:
                told = partial(_tell_fault, events)
                control = await script.begin(nursery, listening, told)
                for fault in script.faults:
                    told(fault)
            announce(listening, control, as_json=as_json)
            if events is not None:
                nursery.start_soon(events.run)
            notify(os.environ, "READY=1")
            nursery.start_soon(end_on_signal, signals, listening, nursery.cancel_scope)
            await ended.wait()
            if events is not None:
                await events.finish({"event": "stopped"})
            nursery.cancel_scope.cancel()
    if as_json and events is None:
        with contextlib.suppress(CannotWriteError):  # it has ended, whoever still reads
            print_json({"event": "stopped"})


def _tell_fault(events: Events | None, fault: Fault) -> None:
    """Tell the seed of a fault by chance, without which nobody can have it again."""
    if fault.seed is None:
        return
    if events is None:
        logging.getLogger("esps_portal").info("fault by chance: %s", fault)
    else:
        events.put({"event": "fault", "fault": str(fault), "seed": fault.seed})


async def end_on_signal(
    signals: object, listening: Listening | ProxyListening, scope: object
) -> None:
    """End in good order at the first signal, at once at the second."""
    from esps_portal.server.activation import notify  # noqa: PLC0415 - help must not wait for it

    first = True
    async for number in signals:  # type: ignore[attr-defined]  # trio does not export its type
        name = signal.Signals(number).name
        if first:
            logging.getLogger("esps_portal").info("%s: closing", name)
            notify(os.environ, "STOPPING=1")
            listening.shut_down()
            first = False
        else:
            scope.cancel()  # type: ignore[attr-defined]  # a trio.CancelScope, imported lazily


def announce(
    listening: Listening | ProxyListening, control: tuple[str, int] | None, *, as_json: bool
) -> None:
    """Tell where it listens."""
    if as_json:
        print_json(
            {
                "event": "ready",
                "tcp": [list(address) for address in listening.tcp],
                "udp": [list(address) for address in listening.udp],
                "control": control and list(control),
                "pid": os.getpid(),
            }
        )
        return
    for transport, addresses in (("TCP", listening.tcp), ("UDP", listening.udp)):
        for host, port in addresses:
            click.echo(f"listening on {host} port {port} ({transport})")
    if control is not None:
        click.echo("control on {} port {}".format(*control))
    click.echo("Press Ctrl-C to stop.")


def who_has_it(error: CannotBindError, option: str) -> str:
    """Return who has the port, as far as that may be seen, and what to do."""
    if error.errno != errno.EADDRINUSE:
        return ""
    from esps_portal.inspection.holders import look  # noqa: PLC0415 - psutil is slow to import

    holders = [h for h in look(error.port).holders if h.transport == error.transport]
    seen = {f"{h.program} (pid {h.pid})" for h in holders if h.pid is not None}
    who = f" by {', '.join(sorted(seen))}" if seen else ""
    return f"{who}; try another {option}, or {option} 0"
