"""A command's conversation with a portal: bounded in time, and told in one line where it fails."""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import INTERRUPTED, fail
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

if TYPE_CHECKING:
    from esps_portal.client.portal_client import PortalClient

# What went wrong, where it was no refusal, for a program.
_KINDS: dict[type[EspsError], str] = {
    UnreachableError: "unreachable",
    ClosedError: "closed",
    PeerError: "broken-peer",
    TimedOutError: "timed-out",
}


@attrs.frozen
class Problem:
    """What went wrong with a portal.

    Attributes:
        code: for a program: the code of a refusal, or ``unreachable``, ``closed``,
            ``broken-peer``, ``timed-out``.
        message: why.
        line: both for a person, escaped, with what to do.
    """

    code: str
    message: str
    line: str

    @classmethod
    def of(cls, error: EspsError, url: str, *, greeted: bool) -> Problem:
        """Return what an error means.

        Args:
            greeted: whether the portal is known to be one: over TCP, it has greeted.
        """
        if isinstance(error, ReplyError):
            refused = f"{error.code} {text(error.message.encode())}".rstrip()
            return cls(error.code, error.message, refused + _refusal_hint(error, url))
        message = text(str(error).encode())  # it may quote the portal's last words
        hint = _unreachable_hint(error) or _stranger_hint(error, url, greeted=greeted)
        return cls(_KINDS.get(type(error), "failed"), message, f"esps-portal: {message}{hint}")

    def as_json(self) -> dict[str, object]:
        """Return it for a program."""
        return {"error": self.code, "message": self.message}


@attrs.define
class Session:
    """One command's conversation with a portal.

    Attributes:
        timeout: seconds that connecting may take.
        bounded: whether they bound the whole conversation.
        as_json: print what goes wrong for a program too, on standard output.
    """

    url: str
    timeout: float
    bounded: bool = True
    as_json: bool = False
    _portal: PortalClient | None = None

    def run(self, asked: Callable[[PortalClient], Awaitable[None]]) -> None:
        """Connect and run a command's coroutine; what goes wrong becomes one line and exit 1."""
        need_output()
        try:
            run(partial(self._ask, asked))
        except EspsError as error:
            problem = Problem.of(error, self.url, greeted=self._portal is not None)
            if self.as_json:
                print_json(problem.as_json())
            fail(problem.line)
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    async def _ask(self, asked: Callable[[PortalClient], Awaitable[None]]) -> None:
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same

        try:
            with trio.fail_after(self.timeout) as bound:
                async with connect(self.url) as self._portal:
                    if not self.bounded:
                        bound.deadline = math.inf
                    await asked(self._portal)
        except trio.TooSlowError:
            raise too_late(self._portal, self.url, self.timeout) from None


def too_late(portal: PortalClient | None, url: str, timeout: float) -> TimedOutError:
    """Return the error for what did not come in time.

    Args:
        portal: ``None`` where none was connected to.
        timeout: in seconds.
    """
    if portal is None:
        return TimedOutError(f"no greeting from {url} in {timeout:g} s")
    return TimedOutError(f"no answer in {timeout:g} s", portal.rejected)


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine; Ctrl-C becomes its exit code, where a nursery has wrapped it too."""
    try:
        import trio  # noqa: PLC0415 - help must not wait for it

        trio.run(main)
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def is_unknown_host(error: EspsError) -> bool:
    """Whether there is no host of that name."""
    return isinstance(error, UnreachableError) and isinstance(error.__cause__, socket.gaierror)


def _unreachable_hint(error: EspsError) -> str:
    """Return a hint for when nobody was reached."""
    if not isinstance(error, UnreachableError) or error.__cause__ is None:
        return ""
    if is_unknown_host(error):
        return "; name another host with --url"
    if os.strerror(errno.ECONNREFUSED) in str(error):
        return "; start one with esps-portal serve, or name another with --url"
    return "; name another with --url"


def _stranger_hint(error: EspsError, url: str, *, greeted: bool) -> str:
    """Return how to learn what there is, where it may be no portal."""
    if isinstance(error, ClosedError) and error.reason:
        return ""  # so ends a portal
    if greeted and not getattr(error, "received", b""):
        return ""
    where = PortalURL.parse(url)
    return f"; see what it is: esps-portal inspect --host {where.host} --port {where.port}"


def _refusal_hint(error: ReplyError, url: str) -> str:
    """Return a hint for a refusal that TCP would avoid."""
    too_large = error.code == "too-large" and b"use-tcp" in error.arguments
    if not url.startswith("esps+udp:") or not (too_large or error.code == "use-tcp"):
        return ""
    where = PortalURL.parse(url)
    return f"; ask over TCP: --url {PortalURL('tcp', where.host, where.port)}"
