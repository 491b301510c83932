"""A server in the foreground: where it listens, what it reports, and how signals end it.

`serve` and `proxy` share this.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from esps_portal.cli.errors import INTERRUPTED, fail
from esps_portal.cli.options import HostType
from esps_portal.cli.output import print_json
from esps_portal.cli.reloading import Reload, reload_all
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.reports import Reports
    from esps_portal.net.bind import CannotBindError

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
                "--access-log/--no-access-log",
                default=None,
                help="Log each request on standard error; by default where that is a terminal.",
            ),
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


def run(main: Callable[[], Awaitable[int]], option_of: Callable[[CannotBindError], str]) -> None:
    """Run a server's coroutine; a port that cannot be bound becomes one line and exit 1.

    Args:
        main: returns the exit code.
        option_of: names the option that changes the port, for a hint.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.bind import CannotBindError  # noqa: PLC0415 - the same

    try:
        status = trio.run(main)
    except* CannotBindError as group:
        error = group.exceptions[0]
        assert isinstance(error, CannotBindError)  # noqa: S101 - so says the line above
        from esps_portal.cli.bind_hints import bind_hint  # noqa: PLC0415 - the same

        fail(f"esps-portal: {error}{bind_hint(error, option_of(error))}")
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    raise click.exceptions.Exit(status)


async def serve_until_signalled(
    serve: Callable[..., Awaitable[None]],
    begin: Callable[[trio.Nursery, Any], Awaitable[tuple[str, int] | None]],
    reports: Reports,
    reloads: Sequence[Reload] = (),
    *,
    dual_stack: bool = False,
) -> int:
    """Serve, report where, and heed signals until one of them, or the server, has ended it.

    Args:
        serve: the server; it reports a `Listening` to its ``task_status``.
        begin: what is to be done between listening and telling of it, with the nursery and what
            the server reported. Returns the address of the control port, if there is one.
        reports: what is reported, and to whom.
        reloads: what SIGHUP reloads where there is no terminal.
        dual_stack: the sockets on :: take IPv4 as well.

    Returns:
        The exit code: 0, or 128 and the number of the signal that ended it at once.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.systemd import notify  # noqa: PLC0415 - the same

    with trio.open_signal_receiver(*_heeded()) as signals:
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def served(*, task_status: trio.TaskStatus[Listening]) -> None:
                await serve(task_status=task_status)
                ended.set()

            listening: Listening = await nursery.start(served)
            control = await begin(nursery, listening)
            if reports.events is None:
                click.echo("\n".join(_ready_lines(listening, control, dual_stack=dual_stack)))
            else:
                print_json(_ready_event(listening, control))
            nursery.start_soon(reports.run)
            notify(os.environ, "READY=1")
            status = 0

            async def end_at_once() -> None:
                nonlocal status
                reload = partial(reload_all, reloads, reports.events)
                status = 128 + await _heed(signals, listening.shut_down, reload)
                nursery.cancel_scope.cancel()

            nursery.start_soon(end_at_once)
            await ended.wait()
            await reports.finish()
            nursery.cancel_scope.cancel()
    return status


def _heeded() -> list[signal.Signals]:
    """Return the signals that are heeded: under nohup not SIGHUP."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]


async def _heed(
    signals: AsyncIterator[int], shut_down: Callable[[], None], reload: Callable[[], None]
) -> int:
    """Shut down at the first signal, and return the second one.

    SIGHUP says on a terminal that it is gone, and ends the server as well, gracefully: a shell
    may repeat it. Without a terminal nothing is gone, and it means: reload.
    """
    from esps_portal.net.systemd import notify, notify_reloading  # noqa: PLC0415 - help must not wait

    may_hang_up = _has_terminal()
    closing = False
    async for number in signals:
        if number == signal.SIGHUP and (closing or not may_hang_up):
            if not closing:
                notify_reloading(os.environ)
                reload()
                notify(os.environ, "READY=1")
            continue
        if closing:
            return number
        closing = True
        _log.info("%s: closing", signal.Signals(number).name)
        notify(os.environ, "STOPPING=1")
        shut_down()
    raise AssertionError  # pragma: no cover - there is no end of signals


def _has_terminal() -> bool:
    """Whether there is a controlling terminal, whose end is told by SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _ready_event(listening: Listening, control: tuple[str, int] | None) -> dict[str, object]:
    return {
        "event": "ready",
        "tcp": [list(address) for address in listening.tcp],
        "udp": [list(address) for address in listening.udp],
        "control": control and list(control),
        "pid": os.getpid(),
    }


def _ready_lines(
    listening: Listening, control: tuple[str, int] | None, *, dual_stack: bool
) -> list[str]:
    lines = [
        f"listening on {host} port {port} ({transport})"
        for transport, addresses in (("TCP", listening.tcp), ("UDP", listening.udp))
        for host, port in addresses
    ]
    hosts = {host for host, _ in (*listening.tcp, *listening.udp)}
    if "::" in hosts and dual_stack:
        lines.append(":: takes IPv4 as well.")
    elif "::" in hosts and "0.0.0.0" not in hosts:  # noqa: S104 - read, not bound
        lines.append(":: is IPv6 alone; for IPv4 add --host 0.0.0.0.")
    if control is not None:
        lines.append("control on {} port {}".format(*control))
    return [*lines, "Press Ctrl-C to stop."]
