"""``esps-portal conformance``: whether an implementation does what ESPS/1 requires."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import attrs
import click

from esps_portal.cli.conformance_clients import check_client_usage, client_texts, judge_client
from esps_portal.cli.conformance_options import (
    ReportFiles,
    Selection,
    ServerAddress,
    read_limits,
    report_file_options,
    run_options,
    selection_options,
    subject_options,
)
from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.output import is_stderr_terminal, print_json, require_stdout
from esps_portal.cli.session import run_client
from esps_portal.cli.spec import spec_folder
from esps_portal.cli.tls_options import ClientTLSOptions, client_tls_options

if TYPE_CHECKING:
    from esps_portal.conformance.judge import Judge
    from esps_portal.conformance.outcome import Outcome
    from esps_portal.conformance.plan import Case
    from esps_portal.conformance.registry import Registry
    from esps_portal.conformance.results import Results, Texts
    from esps_portal.conformance.server_process import ServerCommand

OnOutcome: TypeAlias = "Callable[[Outcome], None]"


class _UnknownHostError(Exception):
    """The address of a server cannot be looked up."""


_HELP = """\
Check servers and clients against the text of ESPS/1.

TARGET is HOST, HOST:PORT, [::1]:PORT (both tested over TCP and UDP), or a
URL, whose scheme names one of them: esps://HOST:PORT (TCP),
esps+udp://HOST:PORT, esps+tls://HOST:PORT (TCP, within TLS). Without one it
is ESPS_PORTAL_URL, else 127.0.0.1:2867.

With --server it starts CMD itself, once for each group of vectors that need
the same limits, and ends it with SIGTERM: so shutdown and small limits are
tested too. In CMD {port} is the port to use, over TCP and UDP; an argument
{limits} becomes --limit NAME=VALUE for each limit that is not default, and
{max-line} the value of one. The same is in ESPS_CONFORMANCE_LIMITS, as
NAME=VALUE separated by spaces; give --limits-env if CMD reads it there.

With --client it starts CMD once for each violation, and for each case that
is odd but legal, and serves that case to it. CMD finds ESPS_PORTAL_URL (TCP
or UDP) and ESPS_CONFORMANCE_CASE in its environment. It has to call `echo hi`
there, print the reply and exit with 0, or fail, within three times --timeout.
What it sends, its output and its exit code are judged.

A verdict is pass, fail, warn (it is only a SHOULD), unsupported (the server
lacks a service, a limit or a transport), or error (the vector could not be
run). The exit code is 1 after a fail or an error.

\b
Examples:
  esps-portal conformance 127.0.0.1:2867
  esps-portal conformance esps://a:2867 esps://b:2867 --report matrix.html
  esps-portal conformance --section 6.5 --json localhost
  esps-portal conformance --cafile ca.pem esps+tls://localhost:2867
  esps-portal conformance --server -- my-server --port {port}
  esps-portal conformance --server -- esps-portal serve --port {port} {limits}
  esps-portal conformance --client -- node my-client.mjs
"""


@click.command("conformance", help=_HELP)
@click.argument("arguments", nargs=-1, metavar="[TARGET]... | -- CMD...")
@subject_options
@selection_options
@run_options
@report_file_options
@client_tls_options
def conformance_command(  # noqa: PLR0913 - click passes each option
    *,
    arguments: tuple[str, ...],
    server: bool,
    client: bool,
    limits_env: bool,
    limits_file: Path | None,
    selection: Selection,
    timeout: float,
    list_only: bool,
    as_json: bool,
    files: ReportFiles,
    tls: ClientTLSOptions,
) -> None:
    """Check servers and clients against the text of ESPS/1."""
    from esps_portal.conformance.judge import Judge  # noqa: PLC0415 - help must not wait for it
    from esps_portal.conformance.registry import load_registry  # noqa: PLC0415 - the same

    require_stdout()
    tls.refuse_unless(is_target=not (server or client))
    if client:
        check_client_usage(arguments, server or limits_env or limits_file or files.pcap)
    registry = load_registry(spec_folder())
    texts = client_texts() if client else _texts()
    chosen = selection.choose(texts)
    known = selection.may_fail(texts.vectors)
    limits = read_limits(limits_file, registry.limits)
    if list_only:
        _print_list(chosen, texts, as_json=as_json)
        return
    files.check()
    judge = Judge(registry, timeout)
    if client:
        judges = [partial(_judge_client, arguments, chosen, timeout)]
    elif server:
        if limits_file:
            raise click.UsageError("--limits is not for --server, which tells CMD its limits")
        command = _server_command(registry, arguments, takes_environment=limits_env)
        judges = [partial(_judge_command, judge, command, chosen)]
    else:
        if limits_env:
            raise click.UsageError("--limits-env is for --server")
        judges = [
            partial(_judge_address, judge, address, chosen, limits, limits_file, tls=tls)
            for address in _addresses(arguments)
        ]
    if (client or server) and shutil.which(arguments[0]) is None:
        exit_with_error(f"{arguments[0]}: not found")
    all_results: list[Results] = []
    for judge_one in judges:
        all_results.append(judge_one(known_failing=known, keeps_traffic=files.pcap is not None))
        _print_report(all_results[-1], texts, as_json=as_json)
    files.write(all_results, texts)
    if any(one.failed for one in all_results):
        raise click.exceptions.Exit(1)


def _texts() -> Texts:
    from esps_portal.conformance.requirements import load_requirements  # noqa: PLC0415 - the same
    from esps_portal.conformance.results import Texts  # noqa: PLC0415 - help must not wait for it
    from esps_portal.conformance.vectors import load_vectors  # noqa: PLC0415 - the same

    folder = spec_folder()
    vectors = {vector.id: vector for vector in load_vectors(folder)}
    return Texts(vectors, load_requirements(folder))


def _addresses(arguments: Sequence[str]) -> list[ServerAddress]:
    default = os.environ.get("ESPS_PORTAL_URL") or "127.0.0.1:2867"
    return [ServerAddress.parse(text) for text in arguments or (default,)]


def _server_command(
    registry: Registry, command: tuple[str, ...], *, takes_environment: bool
) -> ServerCommand:
    from esps_portal.conformance.server_process import ServerCommand  # noqa: PLC0415 - help must not wait

    if not any("{port}" in word for word in command):
        raise click.UsageError("--server needs CMD, with {port} where the port belongs")
    return ServerCommand(command, registry.limits, takes_environment)


def _judge_address(  # noqa: PLR0913 - the last is given where it is called
    judge: Judge,
    address: ServerAddress,
    chosen: Sequence[Case],
    limits: Mapping[str, float],
    limits_file: Path | None,
    *,
    tls: ClientTLSOptions,
    known_failing: frozenset[str],
    keeps_traffic: bool,
) -> Results:
    from esps_portal.conformance.results import Results  # noqa: PLC0415 - help must not wait for it
    from esps_portal.conformance.target import resolve  # noqa: PLC0415 - the same

    context = tls.context(address.url)
    given = (*(("--limits", str(limits_file)) if limits_file else ()), *tls.arguments)
    results = Results(address.text, (*given, address.text), known_failing, keeps_traffic)

    async def judge_it(on_outcome: OnOutcome) -> str:
        url, all_limits = address.url, {**judge.registry.limits, **limits}
        try:
            target = await resolve(url.host, url.port, address.transports, all_limits)
        except OSError as error:
            raise _UnknownHostError(error.strerror or error) from error
        target = attrs.evolve(target, tls=context)
        return await judge.judge(target, chosen, limits, on_outcome)

    try:
        _run(results, judge_it, chosen)
    except _UnknownHostError as error:
        exit_with_error(f"cannot find {address.text}: {error}")
    return results


def _judge_command(
    judge: Judge,
    server: ServerCommand,
    chosen: Sequence[Case],
    *,
    known_failing: frozenset[str],
    keeps_traffic: bool,
) -> Results:
    from esps_portal.conformance.results import Results  # noqa: PLC0415 - help must not wait for it

    environment = ("--limits-env",) if server.takes_environment else ()
    again = ("--server", *environment, "--", *server.command)
    results = Results(shlex.join(server.command), again, known_failing, keeps_traffic)
    _run(results, partial(judge.judge_command, server, chosen), chosen)
    return results


def _judge_client(
    command: tuple[str, ...],
    chosen: Sequence[Case],
    timeout: float,
    *,
    known_failing: frozenset[str],
    keeps_traffic: bool,  # noqa: ARG001 - there is none to keep: --pcap is for servers
) -> Results:
    from esps_portal.conformance.results import Results  # noqa: PLC0415 - help must not wait for it

    results = Results(shlex.join(command), ("--client", "--", *command), known_failing)
    _run(results, partial(judge_client, command, chosen, timeout), chosen)
    return results


def _run(
    results: Results,
    judge_it: Callable[[OnOutcome], Awaitable[str]],
    chosen: Sequence[Case],
) -> None:
    """Judge, and put the outcomes in the order of the vectors.

    On a terminal a line tells meanwhile how many are done: a server that is slow to answer, or is
    started anew for many vectors, takes a minute, and one that is silent takes long for the first.
    """
    started = time.monotonic()

    async def run() -> None:
        def on_outcome(outcome: Outcome) -> None:
            results.add(outcome)
            advance()

        results.product = await judge_it(on_outcome)

    with _progress(len(chosen)) as advance:
        run_client(run)
    results.seconds = time.monotonic() - started
    order = {(case.vector.id, case.form): place for place, case in enumerate(chosen)}
    results.outcomes.sort(key=lambda outcome: order[outcome.vector, outcome.form])


@contextlib.contextmanager
def _progress(length: int) -> Iterator[Callable[[], None]]:
    """Yield what is to be called for each that is done; nothing of it stays on the terminal."""
    shown, done = "", itertools.count()

    def advance() -> None:
        nonlocal shown
        shown = f"\r{next(done)} of {length} runs of vectors"
        click.echo(shown, nl=False, err=True)

    if not is_stderr_terminal():
        yield lambda: None
        return
    advance()
    try:
        yield advance
    finally:
        click.echo(f"\r{' ' * len(shown)}\r", nl=False, err=True)


def _print_list(chosen: Sequence[Case], texts: Texts, *, as_json: bool) -> None:
    for vector in {case.vector.id: case.vector for case in chosen}.values():
        sections = sorted({requirement.section for requirement in texts.cited_by(vector.id)})
        if as_json:
            print_json(
                {
                    "vector": vector.id,
                    "level": vector.level,
                    "transport": vector.transport,
                    "sections": sections,
                    "requirements": vector.requirements,
                    "limits": dict(vector.limits),
                }
            )
        else:
            click.echo(f"{vector.id}  {vector.level}  {' '.join(vector.requirements)}")


def _print_report(results: Results, texts: Texts, *, as_json: bool) -> None:
    from esps_portal.conformance.json_report import report_values  # noqa: PLC0415 - help must not wait
    from esps_portal.conformance.text_report import report_lines  # noqa: PLC0415 - the same

    if as_json:
        for value in report_values(results, texts):
            print_json(value)
    else:
        for line in report_lines(results, texts):
            click.echo(line)
