"""``esps-portal run``: serves a portal, and proxies and peers beside it, while a command runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from esps_portal.cli.child_command import run_child
from esps_portal.cli.completion import complete_file
from esps_portal.cli.control_options import ControlOptions
from esps_portal.cli.errors import exit_with_error, print_error, ungrouped
from esps_portal.cli.proxies_and_peers import (
    address_variables,
    prepare_servers,
    proxy_option,
    start_servers,
)
from esps_portal.cli.script_options import ScriptOptions, script_options
from esps_portal.cli.scripted_server import ScriptedServer, make_server

if TYPE_CHECKING:
    from esps_portal.control.named_servers import NamedServer, PreparedServer
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.net.listeners import Listeners

# click keeps the lines of a block after a \b; it joins all others.
_HELP = """\
Run CMD, such as a test suite, with a portal, proxies, peers.

The portal listens on 127.0.0.1, on a port that is free for TCP and UDP,
and stops when CMD exits. CMD gets the address in its environment:

\b
  ESPS_PORTAL_HOST         127.0.0.1
  ESPS_PORTAL_PORT         the port
  ESPS_PORTAL_URL          esps://HOST:PORT
  ESPS_PORTAL_UDP_URL      esps+udp://HOST:PORT
  ESPS_PORTAL_CONTROL_URL  http://HOST:PORT of the control port

A proxy stands in front of a server of any protocol, and a peer plays one;
"esps-portal proxy --help" and "peer --help" say what they do. CMD gets the
address of each, which is free as well, under its name, here "cache":

\b
  ESPS_PORTAL_CACHE_HOST   127.0.0.1
  ESPS_PORTAL_CACHE_PORT   the port

The name is in upper case, with _ for - and . in it. The scenario file has
the peers, and the framings and faults of proxies; --proxy replaces the
upstream of one with the same name. --fault, --record and --replay are the
portal's.

The control port takes JSON over HTTP. "Content-Type: application/json" is
needed with each POST and PUT; GET /openapi.json describes all of it:

\b
  GET, POST /stubs, DELETE /stubs/ID
            {"service": "price", "args": ["sku-1"], "reply": "9.99"}
  GET, POST /faults, DELETE /faults/ID, DELETE /faults (all)
            {"fault": "reset", "service": "echo", "when": "before"}
  GET       /calls, /exchanges (of a proxy), /connections
  POST      /wait {"service": "price", "count": 2, "timeout": 1}, or
            {"fault": ID}, for a proxy {"match": "INCR"}; see "reached"
  POST      /verify: {"ok": false, "problems": [...]}
  POST      /reset: no stubs, faults and calls; old connections end
  POST      /down {"how": "refuse"} or {"how": "silent"}; DELETE /down
  GET, PUT  /scenario, as JSON, or TOML as application/toml
  GET, POST /proxies, DELETE /proxies/NAME; the same below /proxies/NAME
  GET, POST /peers, DELETE /peers/NAME; the same below /peers/NAME
  GET       /version

A scenario file has the same keys, in TOML; most may be left out:

\b
  [[stubs]]
  service = "price"
  args = ["sku-1", {any = true}, {regex = "[0-9]+"}, {b64 = "/w=="}]
  more_args = true             # and any more
  data = [["first"], ["second"]]
  delay = 0.5                  # seconds
  reply = ["9.99"]             # or: fail = ["busy", "try again"]
  times = 2
  then_close = true
  optional = true              # verify accepts that it is unused

\b
  [[stubs]]
  service = "flaky"            # first, then
  answers = [{fail = "busy", times = 2}, {reply = "done"}]

\b
  [[faults]]
  fault = "latency"
  seconds = 0.2
  service = "price"            # or transport, connection, request, reply
  match = "sku-1"              # in the request; or {regex = "sku-[0-9]+"},
                               # {hex = "0d0a"}; the same for reply_match
  offset = 4                   # bytes that pass first
  age = 10                     # seconds; of the connection
  times = 3                    # or chance = 0.5, with a seed
  optional = true              # --strict accepts that it never struck

\b
  [limits]
  max-in-flight = 8

\b
  [[proxies]]
  name = "cache"
  upstream = "tcp://127.0.0.1:6379"
  framing = "lines:crlf"       # and reply_framing; or neither
  [[proxies.faults]]
  fault = "reset"
  match = "INCR"
  offset = 2                   # bytes of the reply
  times = 1

\b
  [[peers]]
  name = "mail"
  framing = "lines:crlf"
  greeting = "421 try later"

Exits with the code of CMD, or with 128+N if signal N ended it. SIGTERM,
SIGHUP and SIGINT are passed on to CMD, but not the SIGINT of Ctrl-C: the
terminal sends it to CMD itself.

\b
Examples:
  esps-portal run -- npm test
  esps-portal run --scenario shop.toml --strict -- ./check.sh
  esps-portal run --proxy cache=tcp://127.0.0.1:6379 -- npm test
  esps-portal run -- sh -c 'esps-portal call echo hello'
  esps-portal run -- sh -c 'curl $ESPS_PORTAL_CONTROL_URL/version'
"""


def _fail_for_address(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "run chooses a free port of 127.0.0.1, and CMD gets it as ESPS_PORTAL_PORT;"
            " for a given one use serve"
        )


@click.command("run", help=_HELP, context_settings={"allow_interspersed_args": False})
@script_options
@proxy_option
@click.option(
    "--strict",
    is_flag=True,
    help="Print unexpected calls, unused stubs, faults that never struck and servers that a proxy"
    " could not reach; if there are any and CMD exited 0, exit 1.",
)
@click.option("-p", "--port", "--host", hidden=True, expose_value=False, callback=_fail_for_address)
@click.argument(
    "command",
    metavar="CMD...",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    shell_complete=complete_file,
)
def run_command(
    command: tuple[str, ...],
    *,
    script: ScriptOptions,
    proxies: tuple[PlannedProxy, ...],
    strict: bool,
) -> None:
    """Run CMD, such as a test suite, with a portal, proxies, peers."""
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.journal.values import ScenarioError  # noqa: PLC0415 - the same
    from esps_portal.net.bind import CannotBindError  # noqa: PLC0415 - the same

    prepared = prepare_servers(script.scenario, _report_seed, proxies)
    scripted = make_server(script, is_controlled=True)
    for fault in scripted.faults:
        _report_seed(fault)
    try:
        with ungrouped(ScenarioError, CannotBindError):
            status, running = trio.run(_run, command, scripted, prepared)
    except ScenarioError as error:  # of a proxy that would relay to itself
        exit_with_error(error.message)
    except CannotBindError as error:
        exit_with_error(str(error))
    if strict:
        _verify(scripted, running, status)
    status = status or scripted.exit_code
    raise click.exceptions.Exit(status)


async def _run(
    command: tuple[str, ...], scripted: ScriptedServer, prepared: Mapping[str, list[PreparedServer]]
) -> tuple[int, list[NamedServer]]:
    """Serve and run the command.

    Returns:
        Its exit code, as a shell reports it, and the servers that ran beside the portal.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.control.portal_controls import portal_controls  # noqa: PLC0415 - the same
    from esps_portal.control.server_kinds import servers_beside  # noqa: PLC0415 - the same
    from esps_portal.net.quiet import become_quiet  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig, serve  # noqa: PLC0415 - the same

    portal = scripted.portal
    config = ServerConfig(portal=portal, port=0, reserve_port=True)
    portal.script.journal.start = trio.current_time()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve, config)
        beside = servers_beside(nursery, _report_seed)
        controls = portal_controls(portal, listeners.ports, _report_seed)
        url = await ControlOptions().open(nursery, controls, beside)
        environment = os.environ | _variables(listeners, url)
        for started in (await start_servers(prepared, beside)).values():
            for each in started:
                environment |= address_variables(each.name, each.address)
        status = await run_child(command, environment)
        # Until the last data of CMD is in the journals, for --strict.
        running = [server for each in beside.values() for server in each.by_name.values()]
        await become_quiet(lambda: any(server.controls.state.is_busy for server in running))
        nursery.cancel_scope.cancel()
    return status, running


def _variables(listeners: Listeners, control: str) -> dict[str, str]:
    host, port = listeners.tcp[0]
    return {
        "ESPS_PORTAL_HOST": host,
        "ESPS_PORTAL_PORT": str(port),
        "ESPS_PORTAL_URL": f"esps://{host}:{port}",
        "ESPS_PORTAL_UDP_URL": f"esps+udp://{host}:{port}",
        "ESPS_PORTAL_CONTROL_URL": control,
    }


def _report_seed(fault: Fault) -> None:
    """Print the seed of a random fault, which is needed to reproduce it."""
    if fault.seed is not None:
        print_error(f"esps-portal: random fault: {fault}")


def _verify(scripted: ScriptedServer, beside: list[NamedServer], status: int) -> None:
    """Print the problems that --strict finds and exit 1; a command that failed keeps its code."""
    from esps_portal.mock.verification import find_problems, problem_report  # noqa: PLC0415 - help must not wait

    script = scripted.portal.script
    problems = find_problems(script)
    reports = [problem_report(script, problems)] if problems else []
    for server in beside:
        report = server.problem_report()
        reports += [f"{server.noun} {server.name}: {report}"] if report else []
    for report in reports:
        print_error(f"esps-portal: {report}")
    if reports:
        raise click.exceptions.Exit(status or 1)
