"""What goes wrong becomes one line for an error, JSON for a program, and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import NoReturn

import click

from esps_portal.cli.output import need_output, print_json, text
from esps_portal.protocol.errors import (
    ClosedError,
    EspsError,
    PeerError,
    ReplyError,
    TimedOutError,
    UnreachableError,
)
from esps_portal.protocol.urls import PortalURL

#: What a shell reports for a program that ended by Ctrl-C.
INTERRUPTED = 128 + signal.SIGINT

# What went wrong, where it was no refusal, for a program.
_KINDS: dict[type[EspsError], str] = {
    UnreachableError: "unreachable",
    ClosedError: "closed",
    PeerError: "broken-peer",
    TimedOutError: "timed-out",
}


def complain(message: str) -> None:
    """Print a line on standard error; if that cannot be written, the exit code must do."""
    try:
        click.echo(message, err=True)
    except OSError:
        sys.stderr = None  # or what is left in its buffer changes the exit code


def line(error: click.ClickException) -> str:
    """Return a usage error in one line, with where to read on."""
    said = " ".join(part.strip() for part in error.format_message().splitlines())
    said = text(said.encode("utf-8", "surrogateescape"))
    if not isinstance(error, click.UsageError):
        return f"esps-portal: {said}"
    path = "esps-portal" if error.ctx is None else error.ctx.command_path
    return f"{path}: {said.removesuffix('.')}; see {path} --help"


def fail(message: str) -> NoReturn:
    """Print one line on standard error and exit 1."""
    complain(message)
    raise click.exceptions.Exit(1)


def run(
    asked: Callable[[], Awaitable[None]],
    timeout: float,
    *,
    bound: bool = True,
    url: str = "",
    as_json: bool = False,
) -> None:
    """Run a command's coroutine; what goes wrong with the portal becomes one line and exit 1.

    Args:
        timeout: seconds, for the error's words.
        bound: whether ``timeout`` bounds the whole coroutine; if not, it bounds itself.
        url: the portal it asks, for a hint.
        as_json: what went wrong is printed for a program too, on standard output: as ``error`` the
            code of a refusal, or ``unreachable``, ``closed``, ``broken-peer``, ``timed-out``.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    async def bounded() -> None:
        with trio.fail_after(timeout) if bound else trio.CancelScope():
            await asked()

    def tell(code: str, words: str) -> None:
        if as_json:
            print_json({"error": code, "message": words})

    need_output()
    try:
        _run(bounded)
    except ReplyError as error:
        tell(error.code, error.message)
        refused = f"{error.code} {text(error.message.encode())}".rstrip()
        fail(refused + _refusal_hint(error, url))
    except EspsError as error:
        # It may quote the portal's last words.
        words = text(str(error).encode())
        tell(_KINDS[type(error)], words)
        fail(f"esps-portal: {words}{_hint(error)}")
    except trio.TooSlowError:
        words = f"no answer in {timeout:g} s"
        tell("timed-out", words)
        fail(f"esps-portal: {words}")
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine; Ctrl-C becomes its exit code, where a nursery has wrapped it too."""
    import trio  # noqa: PLC0415 - help must not wait for it

    try:
        trio.run(main)
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def _hint(error: EspsError) -> str:
    """Return a hint for when nobody was reached."""
    if not isinstance(error, UnreachableError) or error.__cause__ is None:
        return ""
    if isinstance(error.__cause__, socket.gaierror):
        return "; name another host with --url"
    if os.strerror(errno.ECONNREFUSED) in str(error):
        return "; start one with esps-portal serve, or name another with --url"
    return "; name another with --url"


def _refusal_hint(error: ReplyError, url: str) -> str:
    """Return a hint for a refusal that TCP would avoid."""
    too_large = error.code == "too-large" and b"use-tcp" in error.arguments
    if not url.startswith("esps+udp:") or not (too_large or error.code == "use-tcp"):
        return ""
    where = PortalURL.parse(url)
    return f"; ask over TCP: --url {PortalURL('tcp', where.host, where.port)}"
