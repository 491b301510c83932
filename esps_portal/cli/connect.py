"""``esps-portal connect``: type requests, and see what the portal says."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import print_error
from esps_portal.cli.line_sources import LineSource, PipedLines, TerminalLines
from esps_portal.cli.options import (
    CONNECT_TIMEOUT,
    json_option,
    resolve_target,
    target_argument,
    timeout_option,
    url_option,
)
from esps_portal.cli.output import escaped, is_terminal, print_json, require_stdout
from esps_portal.cli.prompt_wait import PromptWait, WokenError
from esps_portal.cli.reply_lines import PrintReply, print_reply_json, print_text
from esps_portal.cli.session import Session
from esps_portal.cli.signals import ended_in_order
from esps_portal.cli.tls_options import ClientTLSOptions, client_tls_options
from esps_portal.cli.typed_line import (
    CannotParseError,
    LocalCommand,
    TypedRequest,
    completions,
    parse_typed,
)
from esps_portal.protocol.errors import EspsError, ReplyError, SlowConsumerError, TimedOutError
from esps_portal.protocol.escape import shorten
from esps_portal.protocol.registry import VERBS
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.cli.portal_thread import PortalThread
    from esps_portal.client.portal_client import PortalClient

# Seconds to wait for the names of services after Tab.
_COMPLETION_TIMEOUT = 0.5

# Errors after which the connection can still be used.
_OF_ONE_REQUEST = (ReplyError, TimedOutError, SlowConsumerError)

# Characters of the portal's product name (own choice: one line of a terminal).
_MAX_GREETING = 60

_HELP = """\
echo hello "two words"   call a service; words and quotes are those of a shell
LIST, LIST echo          name the services, describe one; Tab completes names
PING, PING hello         get the same words back
HELLO ESPS/1             get the version and the limits of the portal
CALL, CANCEL, QUIT       the other verbs of ESPS/1: esps-portal spec
# words                  nothing: a comment
Ctrl-C                   cancel the call that runs; at the prompt, drop the line
quit, Ctrl-D             end"""


@attrs.define
class Dialogue:
    """The lines of a user, and what comes of them.

    Attributes:
        session: of the command.
        is_interactive: whether a person types at a terminal, and sees the output there.
        source: the lines.
        waiting: where the main thread waits for one.
        portal: the connection.
        print_reply: prints a line of a reply.
        failed: whether a request has failed.
    """

    session: Session
    is_interactive: bool
    source: LineSource
    waiting: PromptWait
    portal: PortalThread
    print_reply: PrintReply
    failed: bool = False

    def run(self) -> int:
        """Carry out each line; return the exit code.

        Raises:
            EspsError: the connection is lost.
        """
        while True:
            try:
                text = self._next_lines()
                if text is None or not all(map(self._carry_out, text.split("\n"))):
                    return int(self.failed and not self.is_interactive)
            except CannotParseError as error:
                if not self.is_interactive:
                    where = f"line {self.source.number}"
                    print_error(f"esps-portal: {where}: {error}; the lines after it were not read")
                    return 2
                print_error(f"esps-portal: {error}; type help for help")
            except KeyboardInterrupt:
                if not self.is_interactive:
                    raise
                click.echo()  # after the prompt, which stays

    def _next_lines(self) -> str | None:
        """Return a line, or several that were pasted; ``None`` at the end."""
        while True:
            self.waiting.show_news()
            if self.portal.lost is not None and self.source.may_wake():
                raise self.portal.lost
            try:
                return self.waiting.wait(self.source.read)
            except WokenError:
                if self.is_interactive:
                    click.echo()  # after the prompt

    def _carry_out(self, line: str) -> bool:
        """Carry out a line; return whether to go on."""
        self.waiting.show_news()
        typed = parse_typed(line)
        if typed is LocalCommand.HELP:
            click.echo(_HELP)
        if isinstance(typed, TypedRequest):
            answered = self._request(typed)
            self.failed |= not answered
            return not (answered and typed.verb == "QUIT")
        return typed is not LocalCommand.QUIT

    def _request(self, typed: TypedRequest) -> bool:
        """Send a request and print the reply; return whether it was OK."""

        async def ask(portal: PortalClient) -> None:
            async with portal.request(typed.verb, *typed.args) as rows:
                async for row in rows:
                    self.print_reply("data", row)
                self.print_reply("ok", rows.result)

        try:
            self.portal.run(ask)
        except EspsError as error:
            is_over_udp = self.session.url.transport == "udp"
            if not (is_over_udp or isinstance(error, _OF_ONE_REQUEST)):
                raise
            self.session.report(error)
            self._point_to_verb(error, typed)
            return False
        except KeyboardInterrupt:
            if not self.is_interactive:
                raise
            self._report_cancelled()
            return False
        return True

    def _point_to_verb(self, error: EspsError, typed: TypedRequest) -> None:
        """Say that verbs are in capitals: redis-cli and psql know no such difference."""
        if isinstance(error, ReplyError) and error.code == "unknown-service" and typed.args:
            verb = typed.args[0].upper()
            if verb in VERBS:
                print_error(f"esps-portal: the verb is {verb.decode()}, in capitals")

    def _report_cancelled(self) -> None:
        is_over_udp = self.session.url.transport == "udp"
        message = "no longer waited for: UDP has no CANCEL" if is_over_udp else "cancelled"
        if self.session.as_json:
            print_json({"error": "cancelled", "message": message})
        print_error(f"\nesps-portal: {message}")  # the terminal has shown ^C


@click.command("connect")
@target_argument
@url_option
@client_tls_options
@timeout_option("Seconds for each request; by default 10 to connect, then no limit.")
@json_option
def connect_command(
    target: PortalURL | None,
    url: PortalURL,
    timeout: float | None,
    *,
    tls: ClientTLSOptions,
    as_json: bool,
) -> None:
    """Connect to a portal, and type requests to it.

    TARGET is HOST, HOST:PORT, [::1]:PORT or a URL. Each line is a call, its
    words quoted as in a shell, or a verb of ESPS/1: PING, LIST. The first
    request is a HELLO. Replies are shown as call shows them, and notices when
    they come. On a terminal Tab completes services, Ctrl-C cancels a call,
    and Ctrl-D ends. No history is written.

    If standard input or output is not a terminal there is no prompt, and the
    lines of standard input are carried out in order. Exits 1 if one failed or
    the portal has ended the connection, 2 at a line that is not a request.

    \b
    Examples:
      esps-portal connect
      esps-portal connect esps+udp://localhost
      printf 'echo hello\\nLIST echo\\n' | esps-portal connect 192.0.2.7:2867
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    require_stdout()
    named_by = "--url" if target is None else "TARGET"
    url = resolve_target(target, url)
    session = Session(
        url,
        CONNECT_TIMEOUT if timeout is None else timeout,
        timeout_covers_all=False,
        as_json=as_json,
        tls=tls,
        named_by=named_by,
    )
    with session.errors_reported():
        code = _converse(session, math.inf if timeout is None else timeout)
    raise click.exceptions.Exit(code)


def _converse(session: Session, timeout: float) -> int:
    """Connect, and carry out the lines of the user; return the exit code."""
    from esps_portal.cli.portal_thread import PortalThread  # noqa: PLC0415 - help must not wait

    def complete(before: str, word: str) -> list[str]:
        return completions(before, word, lambda: _services(portal))

    def show_notice(word: bytes, args: tuple[bytes, ...]) -> None:
        waiting.add_news(" ".join(map(escaped, (b"*", word, *args))))

    is_interactive = is_terminal() and sys.stdin is not None and sys.stdin.isatty()
    prompt = f"{str(session.url).removeprefix('esps://')}> "
    source: LineSource = TerminalLines(prompt, complete) if is_interactive else PipedLines()
    show = _print_json_notice if session.as_json else click.echo
    waiting = PromptWait(show, holds_news=is_interactive, may_wake=source.may_wake)
    portal = PortalThread(session, session.tls.context(session.url), show_notice, waiting, timeout)
    print_reply = print_reply_json if session.as_json else print_text
    if is_interactive and not session.as_json:
        print_reply = _print_on_terminal
    with ended_in_order(), waiting.installed(), portal.connected():
        if is_interactive and not session.as_json:
            greeting = shorten(" ".join(map(escaped, portal.hello[:2])), _MAX_GREETING)
            click.echo(f"connected to {session.url}\n{greeting}; type help for help")
        return Dialogue(session, is_interactive, source, waiting, portal, print_reply).run()


def _services(portal: PortalThread) -> list[str]:
    """Return the names of the services; empty if the portal does not say soon."""
    import trio  # noqa: PLC0415 - help must not wait for it

    async def ask(client: PortalClient) -> list[str]:
        with trio.move_on_after(_COMPLETION_TIMEOUT):
            return await client.services()
        return []

    try:
        return portal.run(ask)
    except EspsError:
        return []


def _print_on_terminal(kind: str, row: tuple[bytes, ...]) -> None:
    """Print a line of a reply; unlike in a pipe, also a final one that has no arguments."""
    print_text(kind, row or (b"OK",) if kind == "ok" else row)


def _print_json_notice(line: str) -> None:
    print_json({"type": "notice", "line": line})
