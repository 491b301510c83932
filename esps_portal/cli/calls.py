"""``esps-portal list`` and ``esps-portal call``."""

from __future__ import annotations

import base64
import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from esps_portal.cli.completion import complete_service
from esps_portal.cli.errors import fail
from esps_portal.cli.options import CONNECTING, Seconds, json_option, timeout_option, url_option
from esps_portal.cli.output import is_terminal, need_output, print_json, text
from esps_portal.cli.session import Session
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Request

if TYPE_CHECKING:
    from esps_portal.client.portal_client import PortalClient

# Columns that the summary of a service is indented by, and a width at which that is too much.
_INDENT, _NARROW_INDENT, _NARROW = 15, 4, 60
# The narrowest text that is worth wrapping.
_LEAST_WIDTH = 20

_Row = tuple[bytes, ...]
#: Prints a DATA line, or the final one, whose kinds are ``data`` and ``ok``.
_Show = Callable[[str, _Row], None]


class ServiceType(click.ParamType[str]):
    """The name of a service: UTF-8 text; the rest is for the portal to check."""

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
@timeout_option
@json_option
def list_command(service: str | None, url: str, timeout: float, *, as_json: bool) -> None:
    """Show the services of a portal, or describe one SERVICE.

    Flags: a runs as a task, i idempotent, t TCP only, - none of them.
    """

    async def asked(portal: PortalClient) -> None:
        names = await portal.services() if service is None else [service]
        for name in names:
            described = [text(arg) for arg in await portal.describe(name)]
            if as_json:
                keys = ("name", "flags", "usage", "summary")
                print_json(dict(zip(keys, described, strict=False)))
            else:
                for line in _description(*(*described, "", "", "", "")[:4]):
                    click.echo(line)

    Session(url, timeout, as_json=as_json).run(asked)


def _description(name: str, flags: str, usage: str, summary: str) -> list[str]:
    """Return what a person reads of a service; on a terminal no line is longer than that is wide.

    In a pipe the summary is one line, for grep.
    """
    head = f"{name:<10} {flags:<3} {usage}".rstrip()
    if not is_terminal():
        return [head, " " * _INDENT + summary]
    width = max(_LEAST_WIDTH, shutil.get_terminal_size().columns)
    indent = " " * (_NARROW_INDENT if width < _NARROW else _INDENT)
    return [*_wrapped(head, width, "", indent), *_wrapped(summary, width, indent, indent)]


def _wrapped(words: str, width: int, first: str, others: str) -> list[str]:
    # Columns of the head are aligned by spaces, so a line that fits stays as it is.
    if len(first) + len(words) <= width:
        return [first + words]
    return textwrap.wrap(
        words,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )


# ---- call --------------------------------------------------------------------------------------


@click.command("call")
@url_option
@click.option(
    "-W",
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=None,
    help="Seconds that it all may take; by default 10 to connect, and no limit then.",
)
@click.option("--raw", is_flag=True, help="Write the bytes as they are, nothing between or after.")
@click.option("--keep-newline", is_flag=True, help="Keep the last newline of standard input.")
@json_option
@click.argument("service", type=ServiceType(), shell_complete=complete_service)
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def call_command(  # noqa: PLR0913 - click hands every option over as a parameter
    service: str,
    args: tuple[str, ...],
    url: str,
    timeout: float | None,
    *,
    raw: bool,
    keep_newline: bool,
    as_json: bool,
) -> None:
    """Call SERVICE with ARGS and print what comes back.

    DATA lines are printed as they arrive, then the arguments of the OK, each
    line's separated by spaces. On a terminal the last one is bold, unless
    NO_COLOR is set; with --json each says which it is: "type": "data" or "ok".

    The argument - is read from standard input, without its last newline (LF
    or CR LF). What begins with - otherwise goes after --: call echo -- -5

    A refusal prints "CODE message" on standard error and exits 1; with --json
    also {"error": CODE, "message": MESSAGE} on standard output. On a terminal
    control bytes are escaped, with --raw too.
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json are two forms of output: give one")
    need_output()  # checked first: a call cannot be taken back
    octets = [_standard_input(keep_newline) if arg == "-" else os.fsencode(arg) for arg in args]
    _check_size(service, octets, cut="-" in args)
    show = _show_json if as_json else _show_raw if raw else _show_text

    async def asked(portal: PortalClient) -> None:
        async with portal.stream(service, *octets) as rows:
            async for row in rows:
                show("data", row)
            show("ok", rows.result)

    seconds = CONNECTING if timeout is None else timeout
    Session(url, seconds, bounded=timeout is not None, as_json=as_json).run(asked)


def _standard_input(keep_newline: bool) -> bytes:  # noqa: FBT001 - an option of the command
    """Return standard input; no more of it is read than a line may hold."""
    if sys.stdin is None:
        fail("esps-portal: cannot read the argument -: standard input is closed")
    try:
        octets = sys.stdin.buffer.read(Limits().max_line + 1)
    except OSError as error:
        fail(f"esps-portal: cannot read the argument -: {error.strerror or error}")
    if keep_newline or not octets.endswith(b"\n"):
        return octets
    return octets[:-1].removesuffix(b"\r")  # as the protocol has it: LF, and one CR before it


def _check_size(service: str, args: list[bytes], *, cut: bool) -> None:
    """Say by how much a request is too long, which the client itself does not.

    Args:
        cut: whether there may have been more to read.
    """
    size = len(Request(b"c1", b"CALL", (service.encode(), *args)).encode())
    most = Limits().max_line
    if size > most:
        raise click.UsageError(
            f"the request would be {size} bytes long{' or more' if cut else ''},"
            f" and a portal takes {most}: send it less at a time"
        )


def _show_text(kind: str, row: _Row) -> None:
    line = " ".join(text(arg) for arg in row)
    if kind == "data":
        click.echo(line)
    elif row:
        click.echo(click.style(line, bold=True) if _has_style() else line)


def _has_style() -> bool:
    # https://no-color.org: set and not empty.
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _show_raw(_: str, row: _Row) -> None:
    octets = b"".join(row)
    if is_terminal():  # no octet of a stranger's moves it
        octets = b"\n".join(text(line).encode() for line in octets.split(b"\n"))
    click.echo(octets, nl=False)


def _show_json(kind: str, row: _Row) -> None:
    print_json({"type": kind, "args": [_as_json(arg) for arg in row]})


def _as_json(arg: bytes) -> object:
    """Return text as it is, other octets as ``{"b64": ...}``."""
    try:
        return arg.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(arg).decode()}
