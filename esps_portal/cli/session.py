"""A command's connection to a portal, with a timeout, and an error in one line."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import attrs
import click

from esps_portal.cli.errors import INTERRUPTED, print_error, ungrouped
from esps_portal.cli.output import escaped, print_json, require_stdout
from esps_portal.cli.slow_notice import notice_if_slow
from esps_portal.cli.tls_options import ClientTLSOptions
from esps_portal.net.tls_errors import TLSError
from esps_portal.protocol.errors import (
    ClosedError,
    EspsError,
    PeerError,
    ReplyError,
    TimedOutError,
    UnreachableError,
)
from esps_portal.protocol.registry import PORT
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    import ssl

    from esps_portal.client.portal_client import PortalClient

# The codes of errors that are not error replies, for a program.
_CODES: dict[type[EspsError], str] = {
    UnreachableError: "unreachable",
    ClosedError: "closed",
    PeerError: "broken-peer",
    TimedOutError: "timed-out",
}

# Hosts that reach a portal on 127.0.0.1, where it listens by default.
_DEFAULT_HOSTS = ("127.0.0.1", "localhost", "0.0.0.0")  # noqa: S104 - compared, not bound


@attrs.frozen
class Problem:
    """What went wrong with a portal.

    Attributes:
        code: for a program: the code of an ERR, or ``unreachable``, ``closed``, ``broken-peer``,
            ``timed-out``.
        message: the reason, unescaped.
        line: for a person: code and message, escaped, with a hint.
    """

    code: str
    message: str
    line: str

    @classmethod
    def of(
        cls, error: EspsError, url: PortalURL, *, greeted: bool, named_by: str = "--url"
    ) -> Problem:
        """Return the problem for an error.

        Args:
            error: what was raised.
            url: the portal's.
            greeted: whether the peer is known to be a portal: over TCP, it has sent a greeting.
            named_by: the parameter of the command that names the portal, for a hint.
        """
        if isinstance(error, ReplyError):
            reply = f"{error.code} {escaped(error.message.encode())}".rstrip()
            return cls(error.code, error.message, reply + _reply_hint(error, url))
        message = escaped(str(error).encode())  # it may quote what the peer sent
        hint = _unreachable_hint(error, url, named_by) or _inspect_hint(error, url, greeted=greeted)
        return cls(_CODES.get(type(error), "failed"), message, f"esps-portal: {message}{hint}")

    def as_json(self) -> dict[str, object]:
        """Return the JSON object for a program."""
        return {"error": self.code, "message": self.message}


@attrs.define
class Session:
    """One command's connection to a portal.

    Attributes:
        url: the portal's.
        timeout: in seconds.
        timeout_covers_all: whether it applies to everything, or (``False``) to connecting only.
        as_json: whether to print a problem on standard output too, as JSON.
        tls: what is trusted, if the URL asks for TLS.
        named_by: the parameter of the command that names the portal, for a hint.
    """

    url: PortalURL
    timeout: float
    timeout_covers_all: bool = True
    as_json: bool = False
    tls: ClientTLSOptions = attrs.field(factory=ClientTLSOptions)
    named_by: str = "--url"
    _portal: PortalClient | None = None

    def run(self, use_portal: Callable[[PortalClient], Awaitable[None]]) -> None:
        """Connect, and call ``use_portal`` with the client; an error is one line and exit 1."""
        require_stdout()
        context = self.tls.context(self.url)
        with self.errors_reported():
            run_client(partial(self.connected, use_portal, context))

    @contextlib.contextmanager
    def errors_reported(self) -> Iterator[None]:
        """Turn an error of the block into one line and exit 1."""
        try:
            yield
        except EspsError as error:
            self.report(error)
            raise click.exceptions.Exit(1) from error
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    def report(self, error: EspsError) -> None:
        """Print what went wrong: a line on standard error, and JSON if that was asked for."""
        greeted = self._portal is not None
        problem = Problem.of(error, self.url, greeted=greeted, named_by=self.named_by)
        if self.as_json:
            print_json(problem.as_json())
        print_error(problem.line)

    async def connected(
        self,
        use_portal: Callable[[PortalClient], Awaitable[None]],
        context: ssl.SSLContext | None,
    ) -> None:
        """Connect, and await ``use_portal`` with the client.

        Args:
            context: from `tls`.

        Raises:
            EspsError: of connecting, or of ``use_portal``.
            TimedOutError: it took longer than the timeout.
        """
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same
        from esps_portal.cli.name_lookup import watch_lookups  # noqa: PLC0415 - the same

        watch_lookups()
        try:
            with trio.fail_after(self.timeout) as scope:
                async with contextlib.AsyncExitStack() as connection:
                    connecting = connect(str(self.url), ssl_context=context)
                    with notice_if_slow(str(self.url)):
                        self._portal = await connection.enter_async_context(connecting)
                    if not self.timeout_covers_all:
                        scope.deadline = math.inf
                    await use_portal(self._portal)
        except trio.TooSlowError:
            raise_timed_out(self._portal, self.url, self.timeout)


def raise_timed_out(portal: PortalClient | None, url: PortalURL, timeout: float) -> NoReturn:
    """Raise the error for a timeout.

    Args:
        portal: ``None`` if it was not connected yet.
        url: the portal's.
        timeout: in seconds.

    Raises:
        TimedOutError: always; its cause is a `socket.gaierror` if the name was not resolved.
    """
    from esps_portal.cli.name_lookup import unresolved_name  # noqa: PLC0415 - help must not wait

    name = unresolved_name()
    if portal is None and name:
        cause = socket.gaierror(socket.EAI_AGAIN, os.strerror(errno.ETIMEDOUT))
        raise TimedOutError(f"the name {name} was not resolved in {timeout:g} s") from cause
    if portal is None:
        raise TimedOutError(f"no greeting from {url} in {timeout:g} s") from None
    message = f"no reply in {timeout:g} s"
    raise TimedOutError(message, portal.rejected, unfinished=portal.unfinished) from None


def run_client(main: Callable[[], Awaitable[None]]) -> None:
    """Run an async function; after Ctrl-C exit 130, even if a nursery has wrapped the exception."""
    try:
        import trio  # noqa: PLC0415 - help must not wait for it

        with ungrouped(KeyboardInterrupt):
            trio.run(main)
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None


def is_unknown_host(error: EspsError) -> bool:
    """Whether there is no such host."""
    return isinstance(error, UnreachableError) and is_unresolved(error)


def is_unresolved(error: EspsError) -> bool:
    """Whether the host name could not be resolved, or not in time."""
    return isinstance(error.__cause__, socket.gaierror)


def is_refused_by_tls(error: EspsError) -> bool:
    """Whether the TLS handshake has failed: its certificate is not valid, say."""
    return isinstance(error, UnreachableError) and isinstance(error.__cause__, TLSError)


def _unreachable_hint(error: EspsError, url: PortalURL, named_by: str) -> str:
    """Return a hint for a portal that cannot be reached."""
    if error.__cause__ is None or not (isinstance(error, UnreachableError) or is_unresolved(error)):
        return ""
    if isinstance(error.__cause__, TLSError):
        return "; trust it with --cafile FILE" if error.__cause__.is_untrusted else ""
    use_another = f"use another {named_by}"
    if named_by.startswith("-"):
        host = " host" if is_unresolved(error) else ""
        use_another = f"use another{host} with {named_by}"
    if os.strerror(errno.ECONNREFUSED) in str(error):
        return f"; start one{_serve_command(url)}, or {use_another}"
    return f"; {use_another}"


def _serve_command(url: PortalURL) -> str:
    """Return the command that serves a portal at an address."""
    from esps_portal.net.bind import is_own_address  # noqa: PLC0415 - help must not wait for it

    port = "" if url.port == PORT else f" --port {url.port}"
    if url.host in _DEFAULT_HOSTS:
        return f" with esps-portal serve{port}"
    place = "" if is_own_address(url.host) else " there"
    return f"{place} with esps-portal serve --host {url.host}{port}"


def _inspect_hint(error: EspsError, url: PortalURL, *, greeted: bool) -> str:
    """Return how to inspect the peer, if it may not be a portal."""
    if isinstance(error, ClosedError) and error.reason:
        return ""  # only a portal gives a reason
    received = getattr(error, "received", b"")
    if is_refused_by_tls(error) or is_unresolved(error) or (greeted and not received):
        return ""
    inspect = f"esps-portal inspect --host {url.host} --port {url.port}"
    # A TLS server is silent, closes or resets when it gets a HELLO of ours.
    is_silent = url.transport == "tcp" and not received
    silent = "; it sent nothing, and may expect TLS"
    if isinstance(error, TimedOutError):  # nor is it known whether anybody has accepted
        silent = "; it sent nothing: it may be out of reach, or expect TLS"
    return f"{silent if is_silent else ''}; to see what it is: {inspect}"


def _reply_hint(error: ReplyError, url: PortalURL) -> str:
    """Return a hint for an unknown service, or an error reply that would not come over TCP."""
    if error.code == "unknown-service":
        return "; esps-portal list shows the services"
    too_large = error.code == "too-large" and b"use-tcp" in error.arguments
    if url.transport != "udp" or not (too_large or error.code == "use-tcp"):
        return ""
    return f"; use TCP: --url {PortalURL('tcp', url.host, url.port)}"
