"""A server in the foreground: where it listens, what it reports, and how signals end it.

`serve` and `proxy` share this.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from esps_portal.cli.output import CannotWriteError
from esps_portal.cli.words import INTERRUPTED, HostType, fail, print_json
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.events import Events
    from esps_portal.server.binding import CannotBindError

_LEVELS = ("debug", "info", "warning", "error")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_log = logging.getLogger("esps_portal")

Addresses = tuple[tuple[str, int], ...]


class Listening(Protocol):
    """What a server reports once it listens."""

    @property
    def tcp(self) -> Addresses:
        """Where, over TCP."""

    @property
    def udp(self) -> Addresses:
        """Where, over UDP."""

    def shut_down(self) -> None:
        """End it in good order."""


def listening_options(command: _Command) -> _Command:
    """Add the options for where a server listens and what it reports."""
    for option in reversed(
        (
            click.option(
                "--host",
                "hosts",
                type=HostType(),
                multiple=True,
                default=("127.0.0.1",),
                show_default=True,
                help="Name or address to listen on; may be repeated.",
            ),
            click.option(
                "--port",
                type=click.IntRange(0, 65535),
                default=PORT,
                show_default=True,
                help="Port for TCP and UDP; 0 takes one that is free for both.",
            ),
            click.option("--no-tcp", is_flag=True, help="Do not listen for TCP."),
            click.option("--no-udp", is_flag=True, help="Do not listen for UDP."),
            click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines."),
            click.option(
                "--log-level",
                type=click.Choice(_LEVELS),
                default="info",
                show_default=True,
                help="How much to log on standard error.",
            ),
        )
    ):
        command = option(command)
    return command


def start_logging(level: str) -> None:
    """Log on standard error, from a level of `listening_options` on."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def run(main: Callable[[], Awaitable[int]], option_of: Callable[[CannotBindError], str]) -> None:
    """Run a server's coroutine; a port that cannot be bound becomes one line and exit 1.

    Args:
        main: returns the exit code.
        option_of: names the option that changes the port, for a hint.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.server.binding import CannotBindError  # noqa: PLC0415 - the same

    try:
        status = trio.run(main)
    except* CannotBindError as group:
        error = group.exceptions[0]
        assert isinstance(error, CannotBindError)  # noqa: S101 - so says the line above
        fail(f"esps-portal: {error}{_who_has_it(error, option_of(error))}")
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    raise click.exceptions.Exit(status)


async def serve_until_signalled(
    serve: Callable[..., Awaitable[None]],
    begin: Callable[[trio.Nursery, Any], Awaitable[tuple[str, int] | None]],
    *,
    as_json: bool,
    events: Events | None,
) -> int:
    """Serve, report where, and end: in good order at the first signal, at once at the second.

    Args:
        serve: the server; it reports a `Listening` to its ``task_status``.
        begin: what is to be done between listening and telling of it, with the nursery and what
            the server reported. Returns the address of the control port, if there is one.
        as_json: report to a program, in JSON lines.
        events: what further events are written to.

    Returns:
        The exit code: 0, or 128 and the number of the second signal.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.server.activation import notify  # noqa: PLC0415 - the same

    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def served(*, task_status: trio.TaskStatus[Listening]) -> None:
                await serve(task_status=task_status)
                ended.set()

            listening: Listening = await nursery.start(served)
            control = await begin(nursery, listening)
            _announce(listening, control, as_json=as_json)
            if events is not None:
                nursery.start_soon(events.run)
            notify(os.environ, "READY=1")
            status = 0

            async def end_on_signal() -> None:
                nonlocal status
                status = 128 + await _second_signal(signals, listening)
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_on_signal)
            await ended.wait()
            if events is not None:
                await events.finish({"event": "stopped"})
            nursery.cancel_scope.cancel()
    if as_json and events is None:
        with contextlib.suppress(CannotWriteError):  # it has ended, read or not
            print_json({"event": "stopped"})
    return status


async def _second_signal(signals: AsyncIterator[int], listening: Listening) -> int:
    """Let the server end at the first signal; return the second one."""
    from esps_portal.server.activation import notify  # noqa: PLC0415 - help must not wait for it

    number = await anext(signals)
    _log.info("%s: closing", signal.Signals(number).name)
    notify(os.environ, "STOPPING=1")
    listening.shut_down()
    return await anext(signals)


def _announce(listening: Listening, control: tuple[str, int] | None, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "event": "ready",
                "tcp": [list(address) for address in listening.tcp],
                "udp": [list(address) for address in listening.udp],
                "control": control and list(control),
                "pid": os.getpid(),
            }
        )
        return
    for transport, addresses in (("TCP", listening.tcp), ("UDP", listening.udp)):
        for host, port in addresses:
            click.echo(f"listening on {host} port {port} ({transport})")
    if control is not None:
        click.echo("control on {} port {}".format(*control))
    click.echo("Press Ctrl-C to stop.")


def _who_has_it(error: CannotBindError, option: str) -> str:
    """Return who holds the port, if that can be seen, and what to do about it."""
    if error.errno != errno.EADDRINUSE:
        return ""
    from esps_portal.inspection.holders import look  # noqa: PLC0415 - psutil is slow to import

    holders = [h for h in look(error.port).holders if h.transport == error.transport]
    seen = {f"{h.program} (pid {h.pid})" for h in holders if h.pid is not None}
    who = f" by {', '.join(sorted(seen))}" if seen else ""
    return f"{who}; try another {option}, or {option} 0"
