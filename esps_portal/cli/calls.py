"""``esps-portal list`` and ``esps-portal call``."""

from __future__ import annotations

import base64
import math
import os
import sys

import click

from esps_portal.cli.errors import fail, run
from esps_portal.cli.options import (
    CONNECTING,
    Seconds,
    json_option,
    timeout_option,
    url_option,
)
from esps_portal.cli.output import need_output, print_json, text
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import Request


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


@click.command("list")
@click.argument("service", required=False, type=ServiceType())
@url_option
@timeout_option
@json_option
def list_command(service: str | None, url: str, timeout: float, *, as_json: bool) -> None:
    """Show the services of a portal, or describe one SERVICE.

    Flags: a runs as a task, i idempotent, t TCP only, - none of them.
    """

    async def asked() -> None:
        from esps_portal import connect  # noqa: PLC0415 - help must not wait for it

        async with connect(url) as portal:
            names = await portal.services() if service is None else [service]
            for name in names:
                described = [text(arg) for arg in await portal.describe(name)]
                if as_json:
                    keys = ("name", "flags", "usage", "summary")
                    print_json(dict(zip(keys, described, strict=False)))
                else:
                    head, flags, usage, summary = (*described, "", "", "", "")[:4]
                    click.echo(f"{head:<10} {flags:<3} {usage}".rstrip())
                    click.echo(f"               {summary}")

    run(asked, timeout, url=url, as_json=as_json)


@click.command("call", context_settings={"ignore_unknown_options": True})
@url_option
@click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=None,
    help="Seconds that it all may take; by default 10 to connect, and no limit then.",
)
@json_option
@click.argument("service", type=ServiceType())
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def call_command(
    service: str, args: tuple[str, ...], url: str, timeout: float | None, *, as_json: bool
) -> None:
    """Call SERVICE with ARGS and print what comes back.

    DATA lines are printed as they arrive, then the arguments of the OK, each
    line's separated by spaces. The argument - is read from standard input.
    A refusal prints "CODE words" on standard error and exits 1; with --json
    also {"error": CODE, "words": WORDS} on standard output.
    """
    need_output()  # checked first: a call cannot be taken back
    octets = [_standard_input() if arg == "-" else os.fsencode(arg) for arg in args]
    _check_size(service, octets, cut="-" in args)

    def show(kind: str, row: tuple[bytes, ...]) -> None:
        if as_json:
            print_json({"type": kind, "args": [_as_json(arg) for arg in row]})
        elif row or kind == "data":
            click.echo(" ".join(text(arg) for arg in row))

    patience = CONNECTING if timeout is None else timeout

    async def asked() -> None:
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same

        with trio.fail_after(patience) as bound:
            async with connect(url) as portal:
                if timeout is None:
                    bound.deadline = math.inf
                async with portal.stream(service, *octets) as rows:
                    async for row in rows:
                        show("data", row)
                    show("ok", rows.result)

    run(asked, patience, bound=False, url=url, as_json=as_json)


def _standard_input() -> bytes:
    """Return standard input; no more of it is read than a line may hold."""
    if sys.stdin is None:
        fail("esps-portal: cannot read the argument -: standard input is closed")
    try:
        return sys.stdin.buffer.read(Limits().max_line + 1)
    except OSError as error:
        fail(f"esps-portal: cannot read the argument -: {error.strerror or error}")


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


def _as_json(arg: bytes) -> object:
    """Return text as it is, other octets as ``{"b64": ...}``."""
    try:
        return arg.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(arg).decode()}
