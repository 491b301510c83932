"""What every command has in common: a URL, JSON, one line for an error, an exit code."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Awaitable, Callable

import click

from esps_portal.protocol.errors import EspsError, RefusedError
from esps_portal.protocol.urls import PortalURL

DEFAULT_URL = "esps://127.0.0.1:2867"
#: What a shell reports for a program that ended by Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT


class URLType(click.ParamType[str]):
    """A portal's URL; usage errors say what one looks like."""

    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the URL, if it is one."""
        try:
            return str(PortalURL.parse(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


url_option = click.option(
    "--url",
    type=URLType(),
    envvar="ESPS_PORTAL_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="The portal: esps://HOST[:PORT] (TCP) or esps+udp://HOST[:PORT].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds to wait for an answer.",
)


def text(octets: bytes) -> str:
    """Return octets for a person: UTF-8 where they are, nothing that moves a terminal."""
    decoded = octets.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)


def print_json(value: object) -> None:
    """Print one JSON value on a line of its own, at once."""
    click.echo(json.dumps(value))
    sys.stdout.flush()


def fail(message: str) -> None:
    """Print one line on standard error and exit 1."""
    click.echo(message, err=True)
    raise click.exceptions.Exit(1)


def run(asked: Callable[[], Awaitable[None]], timeout: float | None = None) -> None:
    """Run a command's coroutine; what goes wrong with the portal becomes one line and exit 1."""
    import trio  # noqa: PLC0415 - help must not wait for it

    async def bounded() -> None:
        if timeout is None:
            await asked()
            return
        with trio.fail_after(timeout):
            await asked()

    try:
        trio.run(bounded)
    except RefusedError as error:
        fail(f"{error.code} {text(error.words.encode())}".rstrip())
    except EspsError as error:
        # It may quote what the portal said last.
        fail(text(f"esps-portal: {error}".encode()))
    except trio.TooSlowError:
        fail(f"esps-portal: no answer in {timeout:g} s")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
