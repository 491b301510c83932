"""``esps-portal list`` and ``esps-portal call``."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import TYPE_CHECKING

import click

from esps_portal.cli.completion import complete_service
from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import (
    CONNECT_TIMEOUT,
    json_option,
    reply_timeout_option,
    timeout_option,
    url_option,
)
from esps_portal.cli.output import escaped, print_json, require_stdout, terminal_width
from esps_portal.cli.reply_lines import PrintReply, print_raw, print_reply_json, print_text
from esps_portal.cli.session import Session
from esps_portal.cli.tls_options import ClientTLSOptions, client_tls_options
from esps_portal.protocol.errors import PeerError
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Request
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    from esps_portal.client.portal_client import PortalClient

# Columns of indentation for a service's summary; fewer on a terminal narrower than _NARROW.
_INDENT, _NARROW_INDENT, _NARROW = 15, 4, 60


class ServiceType(click.ParamType[str]):
    """The name of a service: UTF-8 text; the portal checks the rest."""

    name = "service"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the name."""
        try:
            return os.fsencode(str(value)).decode()
        except UnicodeDecodeError:
            self.fail(f"{value!r} is not UTF-8 text", param, ctx)


# ---- list --------------------------------------------------------------------------------------


@click.command("list")
@click.argument("service", required=False, type=ServiceType(), shell_complete=complete_service)
@url_option
@client_tls_options
@reply_timeout_option
@json_option
def list_command(
    service: str | None, url: PortalURL, timeout: float, *, tls: ClientTLSOptions, as_json: bool
) -> None:
    """Show the services of a portal, or describe one SERVICE.

    Flags: a async, i idempotent, t TCP only, - none.
    """

    async def print_services(portal: PortalClient) -> None:
        names = [service] if service is not None else await portal.services()
        for name in names:
            try:
                description = [escaped(arg) for arg in await portal.describe(name)]
            except ValueError as error:
                if service is not None:
                    raise
                message = "the portal lists a service whose name no request has room for"
                raise PeerError(message, name.encode()) from error
            if as_json:
                keys = ("name", "flags", "usage", "summary")
                print_json(dict(zip(keys, description, strict=False)))
            else:
                for line in _description_lines(*(*description, "", "", "", "")[:4]):
                    click.echo(line)

    Session(url, timeout, as_json=as_json, tls=tls).run(print_services)


def _description_lines(name: str, flags: str, usage: str, summary: str) -> list[str]:
    """Return the lines that describe a service, wrapped to the width of a terminal.

    In a pipe the summary is one line, for grep.
    """
    head = f"{name:<10} {flags:<3} {usage}".rstrip()
    width = terminal_width()
    if not width:
        return [head, " " * _INDENT + summary]
    indent = " " * (_NARROW_INDENT if width < _NARROW else _INDENT)
    return [*_wrapped(head, width, "", indent), *_wrapped(summary, width, indent, indent)]


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    # Wrapping would collapse the spaces that align columns: a line that fits stays as it is.
    if len(first) + len(text) <= width:
        return [first + text]
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


# ---- call --------------------------------------------------------------------------------------


@click.command("call")
@url_option
@client_tls_options
@timeout_option("Seconds for the whole call; by default 10 to connect, then no limit.")
@click.option(
    "--raw",
    is_flag=True,
    help="Write the bytes of the arguments, with nothing between or after them.",
)
@click.option("--keep-newline", is_flag=True, help="Keep the final newline of standard input.")
@json_option
@click.argument("service", type=ServiceType(), shell_complete=complete_service)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def call_command(  # noqa: PLR0913 - click hands every option over as a parameter
    service: str,
    args: tuple[str, ...],
    url: PortalURL,
    timeout: float | None,
    *,
    tls: ClientTLSOptions,
    raw: bool,
    keep_newline: bool,
    as_json: bool,
) -> None:
    """Call SERVICE with ARGS and print the reply.

    Prints the arguments of each DATA line as it arrives, then those of the
    OK, separated by spaces. On a terminal the OK is bold, unless NO_COLOR is
    set. With --json each line has its kind: "type": "data" or "ok".

    The argument - is read from standard input, without its final newline (LF
    or CR LF). Put arguments that begin with - after --: call echo -- -5

    An error reply is printed as "CODE message" on standard error, and the
    exit code is 1; --json also prints {"error": CODE, "message": MESSAGE} on
    standard output. On a terminal control bytes are escaped, even with --raw.
    """
    if raw and as_json:
        raise click.UsageError("give --raw or --json, not both")
    require_stdout()  # before the call, which cannot be undone
    data = [_read_stdin(keep_newline) if arg == "-" else os.fsencode(arg) for arg in args]
    _check_size(service, data, at_least="-" in args)
    print_row: PrintReply = print_reply_json if as_json else print_raw if raw else print_text

    async def call(portal: PortalClient) -> None:
        async with portal.stream(service, *data) as rows:
            async for row in rows:
                print_row("data", row)
            print_row("ok", rows.result)

    Session(
        url,
        CONNECT_TIMEOUT if timeout is None else timeout,
        timeout_covers_all=timeout is not None,
        as_json=as_json,
        tls=tls,
    ).run(call)


def _read_stdin(keep_newline: bool) -> bytes:  # noqa: FBT001 - an option of the command
    """Return standard input, but read at most one byte more than a line may have."""
    if sys.stdin is None:
        exit_with_error("cannot read the argument -: standard input is closed")
    try:
        data = sys.stdin.buffer.read(Limits().max_line + 1)
    except OSError as error:
        exit_with_error(f"cannot read the argument -: {error.strerror or error}")
    if keep_newline or not data.endswith(b"\n"):
        return data
    return data[:-1].removesuffix(b"\r")  # as ESPS/1 ends a line: LF, or CR LF


def _check_size(service: str, args: list[bytes], *, at_least: bool) -> None:
    """Fail for a request that is too long, with its size, which the client does not report.

    Args:
        service: the name.
        args: the arguments.
        at_least: whether standard input may have had more.
    """
    size = Request(b"c1", b"CALL", (service.encode(), *args)).size
    max_line = Limits().max_line
    if size > max_line:
        raise click.UsageError(
            f"the request must be at most {max_line} bytes,"
            f" got {'at least ' if at_least else ''}{size}: send less in one call"
        )
