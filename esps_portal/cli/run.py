"""``esps-portal run``: a portal for as long as a command runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from esps_portal.cli.errors import complain, fail
from esps_portal.cli.script_files import ScriptFile
from esps_portal.cli.script_options import Script, scripted_options

if TYPE_CHECKING:
    import trio

    from esps_portal.faults.fault import Fault
    from esps_portal.journal.recording import RecordedAnswer
    from esps_portal.mock.scenario import PlannedFault, Scenario
    from esps_portal.server.serving import Listening

# What shells exit with, where a command cannot be run and where a signal ended it
# (POSIX.1-2017, Shell Command Language, section 2.8.2).
_NOT_FOUND, _NOT_EXECUTABLE, _BY_SIGNAL = 127, 126, 128


@click.command("run", context_settings={"allow_interspersed_args": False})
@scripted_options
@click.option(
    "--strict",
    is_flag=True,
    help="Report unexpected calls, unused stubs and faults that never struck; then exit 1 if CMD"
    " exited 0.",
)
@click.argument("command", metavar="CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(  # noqa: PLR0913 - click hands every option over as a parameter
    command: tuple[str, ...],
    scenario: ScriptFile[Scenario] | None,
    faults: tuple[PlannedFault, ...],
    replay: ScriptFile[list[RecordedAnswer]] | None,
    record: Path | None,
    *,
    strict: bool,
) -> None:
    """Run CMD, a test suite say, with a portal beside it.

    The portal listens on free ports of 127.0.0.1, TCP and UDP on one number,
    and ends with CMD. Where it is, CMD reads from its environment:

    \b
      ESPS_PORTAL_HOST         127.0.0.1
      ESPS_PORTAL_PORT         the number
      ESPS_PORTAL_URL          esps://HOST:PORT
      ESPS_PORTAL_UDP_URL      esps+udp://HOST:PORT
      ESPS_PORTAL_CONTROL_URL  the control port, in the same form

    The control port speaks ESPS/1 as well: a line for each request, whose
    argument is a JSON object, percent-encoded. Its services place stubs and
    faults and tell what happened; "esps-portal list" describes them:

    \b
      stub      {"service": "price", "args": ["sku-1"], "reply": ["9.99"]}
      fault     {"fault": "reset", "service": "echo", "when": "before"}
                answers {"id": 1, ...}; {"remove": 1} ends that one
      calls     {"service": "price"}: a DATA line for each call
      wait      {"service": "price", "count": 2, "timeout": 1}, or {"fault": 1}
      verify    a DATA line for each problem, then ERR x-unverified; else OK
      reset     forget stubs, faults and calls; end old connections
      scenario  {"stubs": [...], "faults": [...]}; without one: what is placed
      down      {"down": true}: refuse connects; {"down": false}: serve again

    A scenario is the same in a TOML file, in which a key may be left out:

    \b
      [[stubs]]
      service = "price"
      args = ["sku-1", {any = true}, {regex = "[0-9]+"}, {b64 = "/w=="}]
      more_args = true             # and any others
      data = [["first"], ["second"]]
      delay = 0.5                  # seconds
      reply = ["9.99"]             # or: fail = ["busy", "try again"]
      times = 2
      then_close = true
      optional = true              # verify does not ask for a call

    \b
      [[stubs]]
      service = "flaky"            # first, then
      answers = [{fail = "busy", times = 2}, {reply = "done"}]

    \b
      [[faults]]
      fault = "latency"
      seconds = 0.2
      service = "price"            # or transport, connection, request
      times = 3                    # or chance = 0.5, with a seed
      optional = true              # --strict: it need not strike

    \b
      [limits]
      max-in-flight = 8

    Exits as CMD does, with 128+N where signal N ended it. SIGTERM, SIGHUP and
    SIGINT are passed on to CMD; in the foreground of a terminal SIGINT is not,
    since Ctrl-C comes to CMD from the terminal itself.

    \b
    Examples:
      esps-portal run -- npm test
      esps-portal run --scenario shop.toml --strict -- ./check.sh
      esps-portal run -- sh -c 'esps-portal call echo hello'
      esps-portal run -- sh -c 'esps-portal list --url $ESPS_PORTAL_CONTROL_URL'
    """  # noqa: D301 - click wants the character itself in front of what keeps its lines
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.bind import CannotBindError  # noqa: PLC0415 - the same

    script = Script.of(scenario, faults, 0, replay, record)
    for fault in script.faults:
        _tell_fault(fault)
    try:
        status = trio.run(_run, command, script)
    except* CannotBindError as group:
        fail(f"esps-portal: {group.exceptions[0]}")
    if strict:
        _verify(script, status)
    raise click.exceptions.Exit(status)


async def _run(command: tuple[str, ...], script: Script) -> int:
    """Serve, run the command, and return its status as a shell tells it."""
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.quiet import become_quiet  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig, serve  # noqa: PLC0415 - the same

    config = ServerConfig(portal=script.portal, port=0, hold=True)
    script.portal.script.journal.start = trio.current_time()
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(serve, config)
        control = await script.begin(nursery, listening, _tell_fault)
        environment = os.environ | _addresses(listening, control)
        with trio.open_signal_receiver(*_passed_on()) as signals:
            status = await _run_command(command, environment, signals)
        await become_quiet()  # what CMD sent last is in the journal, and judged
        nursery.cancel_scope.cancel()
    return status


async def _run_command(
    command: tuple[str, ...], environment: dict[str, str], signals: object
) -> int:
    import trio  # noqa: PLC0415 - help must not wait for it

    try:
        process = await trio.lowlevel.open_process(command, env=environment)
    except FileNotFoundError:
        click.echo(f"esps-portal: {command[0]}: not found", err=True)
        return _NOT_FOUND
    except OSError as error:
        click.echo(f"esps-portal: {command[0]}: {error.strerror}", err=True)
        return _NOT_EXECUTABLE
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pass_on, signals, process)
            status = await process.wait()
            nursery.cancel_scope.cancel()
    finally:
        if process.returncode is None:  # we are being torn down: it must not stay behind
            process.kill()
    return _BY_SIGNAL - status if status < 0 else status


def _passed_on() -> list[signal.Signals]:
    """Return the signals that are passed on to CMD: under nohup not SIGHUP."""
    names = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    return [name for name in names if signal.getsignal(name) != signal.SIG_IGN]


async def _pass_on(signals: object, process: trio.Process) -> None:
    async for number in signals:  # type: ignore[attr-defined]  # trio does not export its type
        # Ctrl-C in a terminal: the kernel has sent it to the command as well.
        if number != signal.SIGINT or not _is_in_foreground():
            process.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether the controlling terminal, if any, sends its signals to this process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _addresses(listening: Listening, control: tuple[str, int] | None) -> dict[str, str]:
    assert control is not None  # noqa: S101 - this command always asks for one
    host, port = listening.tcp[0]
    return {
        "ESPS_PORTAL_HOST": host,
        "ESPS_PORTAL_PORT": str(port),
        "ESPS_PORTAL_URL": f"esps://{host}:{port}",
        "ESPS_PORTAL_UDP_URL": f"esps+udp://{host}:{port}",
        "ESPS_PORTAL_CONTROL_URL": "esps://{}:{}".format(*control),
    }


def _tell_fault(fault: Fault) -> None:
    """Print the seed of a fault by chance, without which it cannot be reproduced."""
    if fault.seed is not None:
        click.echo(f"esps-portal: fault by chance: {fault}", err=True)


def _verify(script: Script, status: int) -> None:
    """Print what a strict test fails for; a command that failed keeps its status."""
    from esps_portal.mock.verification import find_problems, report  # noqa: PLC0415 - help must not wait

    problems = find_problems(script.portal.script)
    if problems:
        complain(f"esps-portal: {report(script.portal.script, problems)}")
        raise click.exceptions.Exit(status or 1)
