"""``esps-portal list`` and ``esps-portal call``."""

from __future__ import annotations

import base64
import sys

import click

from esps_portal.cli.words import json_option, print_json, run, text, timeout_option, url_option


@click.command("list")
@click.argument("service", required=False)
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
            names = [service] if service else await portal.services()
            for name in names:
                described = [text(arg) for arg in await portal.describe(name)]
                if as_json:
                    keys = ("name", "flags", "usage", "summary")
                    print_json(dict(zip(keys, described, strict=False)))
                else:
                    head, flags, usage, summary = (*described, "", "", "", "")[:4]
                    click.echo(f"{head:<10} {flags:<3} {usage}".rstrip())
                    click.echo(f"               {summary}")

    run(asked, timeout)


@click.command("call", context_settings={"ignore_unknown_options": True})
@url_option
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=None,
    help="Seconds to wait for the end of the call; none by default.",
)
@json_option
@click.argument("service")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def call_command(
    service: str, args: tuple[str, ...], url: str, timeout: float | None, *, as_json: bool
) -> None:
    """Call SERVICE with ARGS and print what comes back.

    DATA lines are printed as they arrive, then the arguments of the OK, each
    line's separated by spaces. The argument - is read from standard input.
    A refusal prints "CODE words" on standard error and exits 1.
    """
    octets = [sys.stdin.buffer.read() if arg == "-" else arg.encode() for arg in args]

    def show(kind: str, row: tuple[bytes, ...]) -> None:
        if as_json:
            print_json({"type": kind, "args": [_as_json(arg) for arg in row]})
        elif row or kind == "data":
            click.echo(" ".join(text(arg) for arg in row))
        sys.stdout.flush()

    async def asked() -> None:
        from esps_portal import connect  # noqa: PLC0415 - help must not wait for it

        async with connect(url) as portal, portal.stream(service, *octets) as rows:
            async for row in rows:
                show("data", row)
            show("ok", rows.result)

    run(asked, timeout)


def _as_json(arg: bytes) -> object:
    """Return text as it is, other octets as ``{"b64": ...}``."""
    try:
        return arg.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(arg).decode()}
