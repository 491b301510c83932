"""``esps-portal run``: a portal, and what is beside it, for as long as a command runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from esps_portal.cli.child_command import run_child
from esps_portal.cli.completion import complete_file
from esps_portal.cli.errors import exit_with_error, print_error
from esps_portal.cli.run_peers import NamedPeer, make_peers
from esps_portal.cli.run_proxies import NamedProxy, make_proxies, proxy_option
from esps_portal.cli.script_options import ScriptOptions, script_options

if TYPE_CHECKING:
    from esps_portal.cli.scripted_server import ScriptedServer
    from esps_portal.faults.fault import Fault
    from esps_portal.mock.planned_proxy import PlannedProxy
    from esps_portal.server.serving import Listeners

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
  ESPS_PORTAL_CONTROL_URL  the control port, in the same form

A proxy stands in front of a server of any protocol, and a peer plays one;
"esps-portal proxy --help" and "peer --help" say what they do. CMD gets the
address of each, which is free as well, under its name, here "cache":

\b
  ESPS_PORTAL_CACHE_HOST   127.0.0.1
  ESPS_PORTAL_CACHE_PORT   the port

The name is in upper case, with _ for - and . in it. The scenario file has
the peers, and the framings and faults of proxies; --proxy replaces the upstream of one
with the same name. --fault, --record and --replay are the portal's.

The control port speaks ESPS/1 too: each request is a line, and its
argument a percent-encoded JSON object. Its services place stubs and
faults and report what happened; "esps-portal list" describes them:

\b
  stub      {"service": "price", "args": ["sku-1"], "reply": ["9.99"]}
  fault     {"fault": "reset", "service": "echo", "when": "before"}
            replies {"id": 1, ...}; {"remove": 1} removes it
  calls     {"service": "price"}: a DATA line for each call
  wait      {"service": "price", "count": 2, "timeout": 1}, or {"fault": 1}
  verify    a DATA line for each problem, then ERR x-unverified; else OK
  reset     remove stubs, faults and calls; close old connections
  scenario  {"stubs": [...], "faults": [...]}; without: the current one
  down      {"down": true}: refuse connects; {"down": false}: serve again
            {"down": true, "how": "silent"}: let them time out

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
  esps-portal run -- sh -c 'esps-portal list --url $ESPS_PORTAL_CONTROL_URL'
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

    from esps_portal.net.bind import CannotBindError  # noqa: PLC0415 - the same
    from esps_portal.proxy.serving import OwnUpstreamError  # noqa: PLC0415 - the same

    named: list[NamedProxy | NamedPeer] = [
        *make_proxies(proxies, script.scenario),
        *make_peers(script.scenario),
    ]
    scripted = script.without_others().make_server(control=0)
    for fault in (*scripted.faults, *(fault for other in named for fault in other.faults)):
        _report_seed(fault)
    try:
        status = trio.run(_run, command, scripted, named)
    except* (CannotBindError, OwnUpstreamError) as group:
        exit_with_error(str(group.exceptions[0]))
    if strict:
        _verify(scripted, named, status)
    status = status or scripted.exit_code
    raise click.exceptions.Exit(status)


async def _run(
    command: tuple[str, ...], scripted: ScriptedServer, others: list[NamedProxy | NamedPeer]
) -> int:
    """Serve, run the command, and return its exit code as a shell reports it."""
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.quiet import become_quiet  # noqa: PLC0415 - the same
    from esps_portal.server.serving import ServerConfig, serve  # noqa: PLC0415 - the same

    config = ServerConfig(portal=scripted.portal, port=0, reserve_port=True)
    scripted.portal.script.journal.start = trio.current_time()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve, config)
        control = await scripted.open_control(nursery, listeners, _report_seed)
        environment = os.environ | _address_variables(listeners, control)
        for other in others:
            environment |= await other.start(nursery)
        status = await run_child(command, environment)
        # Until the last data of CMD is in the journals, for --strict.
        await become_quiet(lambda: any(other.is_busy for other in others))
        nursery.cancel_scope.cancel()
    return status


def _address_variables(listeners: Listeners, control: tuple[str, int] | None) -> dict[str, str]:
    assert control is not None  # noqa: S101 - this command always has one
    host, port = listeners.tcp[0]
    return {
        "ESPS_PORTAL_HOST": host,
        "ESPS_PORTAL_PORT": str(port),
        "ESPS_PORTAL_URL": f"esps://{host}:{port}",
        "ESPS_PORTAL_UDP_URL": f"esps+udp://{host}:{port}",
        "ESPS_PORTAL_CONTROL_URL": "esps://{}:{}".format(*control),
    }


def _report_seed(fault: Fault) -> None:
    """Print the seed of a random fault, which is needed to reproduce it."""
    if fault.seed is not None:
        print_error(f"esps-portal: random fault: {fault}")


def _verify(scripted: ScriptedServer, others: list[NamedProxy | NamedPeer], status: int) -> None:
    """Print the problems that --strict finds and exit 1; a command that failed keeps its code."""
    from esps_portal.mock.verification import find_problems, problem_report  # noqa: PLC0415 - help must not wait

    script = scripted.portal.script
    problems = find_problems(script)
    reports = [problem_report(script, problems)] if problems else []
    for other in others:
        report = other.problem_report()
        reports += [f"{other.kind} {other.name}: {report}"] if report else []
    for report in reports:
        print_error(f"esps-portal: {report}")
    if reports:
        raise click.exceptions.Exit(status or 1)
