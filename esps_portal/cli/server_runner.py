"""A server in the foreground: where it listens, what it reports, and how signals end it.

`serve` and `proxy` share this.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.errors import INTERRUPTED, exit_with_error
from esps_portal.cli.options import HostType, Option, add_options
from esps_portal.cli.ready import Listeners, OtherAddresses, print_ready
from esps_portal.cli.reloading import Reload, reload_all
from esps_portal.cli.signals import SIGHUP, ending_signals, has_terminal
from esps_portal.log import log
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.reports import Reports
    from esps_portal.net.bind import CannotBindError
    from esps_portal.net.tls_server import ServerTLS


_HOST_OPTION: Option = click.option(
    "--host",
    "hosts",
    type=HostType(),
    multiple=True,
    default=("127.0.0.1",),
    show_default=True,
    help="Name or address to listen on; may be repeated.",
)


def _port_option(*, show_default: str | bool) -> Option:
    option: Option = click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=PORT,
        show_default=show_default,
        help="Port for TCP and UDP; 0 chooses one that is free for both.",
    )
    return option


def _udp_option(*, text: str) -> Option:
    option: Option = click.option("--udp/--no-udp", default=None, help=text)
    return option


_NO_TCP_OPTION: Option = click.option("--no-tcp", is_flag=True, help="Do not listen on TCP.")
_OTHER_OPTIONS: tuple[Option, ...] = (
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines."),
    click.option(
        "--access-log/--no-access-log",
        default=None,
        help="Log each request on standard error; the default if that is a terminal.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(("debug", "info", "warning", "error")),
        default="info",
        show_default=True,
        help="How much to log on standard error.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        help="How standard error looks, the access log included; json: an object in each line.",
    ),
)


@attrs.frozen
class ListenOptions:
    """Where a server listens, and what it reports.

    Attributes:
        hosts: names and addresses.
        port: for TCP and UDP; 0 for a free one.
        tcp: whether to listen on TCP.
        udp: the same for UDP; ``None`` if neither form of the option was given.
        as_json: events on standard output, for a program.
        access_log: log each request; ``None`` if neither form of the option was given.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` or ``json``.
    """

    hosts: tuple[str, ...]
    port: int
    tcp: bool
    udp: bool | None
    as_json: bool
    access_log: bool | None
    log_level: str
    log_format: str

    def start_reports(self) -> Reports:
        """Start logging, and return what reports as these options say."""
        from esps_portal.cli.reports import (  # noqa: PLC0415 - help must not wait for trio
            Reports,
            start_logging,
        )

        log = start_logging(self.log_level, self.log_format)
        return Reports.of(log, as_json=self.as_json, access_log=self.access_log)


def listen_options(
    *,
    default_port: str | bool = True,
    udp_help: str = "Listen on UDP; the default, except beside TLS.",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of `ListenOptions`; the command gets them as ``listen``.

    Args:
        default_port: what the help says of the default; ``True``: the number.
        udp_help: the help of --udp.
    """
    options = (
        _HOST_OPTION,
        _port_option(show_default=default_port),
        _NO_TCP_OPTION,
        _udp_option(text=udp_help),
        *_OTHER_OPTIONS,
    )
    return functools.partial(_add_listen_options, options)


def _add_listen_options(
    options: Sequence[Option], command: Callable[..., None]
) -> Callable[..., None]:
    @functools.wraps(command)
    def wrapper(  # noqa: PLR0913 - click passes each option as a parameter
        *,
        hosts: tuple[str, ...],
        port: int,
        no_tcp: bool,
        udp: bool | None,
        as_json: bool,
        access_log: bool | None,
        log_level: str,
        log_format: str,
        **others: Any,  # noqa: ANN401 - the command's other options
    ) -> None:
        listen = ListenOptions(
            hosts, port, not no_tcp, udp, as_json, access_log, log_level, log_format
        )
        command(listen=listen, **others)

    return add_options(wrapper, options)


def run_server(
    main: Callable[[], Awaitable[int]], option_of: Callable[[CannotBindError], str]
) -> None:
    """Run a server and exit with its code; if a port cannot be bound, print an error and exit 1.

    Args:
        main: the server; returns the exit code.
        option_of: returns the option that sets the port of the error, for a hint.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.bind import CannotBindError  # noqa: PLC0415 - the same
    from esps_portal.net.descriptors import raise_limit  # noqa: PLC0415 - the same

    raise_limit()
    try:
        status = trio.run(main)
    except* CannotBindError as group:
        error = group.exceptions[0]
        assert isinstance(error, CannotBindError)  # noqa: S101 - the line above says so
        from esps_portal.inspection import bind_hints  # noqa: PLC0415 - the same

        options = bind_hints.BindOptions(port=option_of(error))
        exit_with_error(f"{error}{bind_hints.bind_hint(error, options)}")
    except* KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    raise click.exceptions.Exit(status)


async def serve_until_signalled(  # noqa: PLR0913 - what is composed
    serve: Callable[..., Awaitable[None]],
    open_control: Callable[[trio.Nursery, Any], Awaitable[str | None]],
    reports: Reports,
    reloads: Sequence[Reload] = (),
    *,
    dual_stack: bool = False,
    upstream: str = "",
    open_metrics: Callable[[trio.Nursery, Any], Awaitable[str]] | None = None,
    tls: ServerTLS | None = None,
) -> int:
    """Serve, print the addresses, and handle signals until one, or the server itself, ends it.

    Args:
        serve: the server; it reports a `Listeners` to its ``task_status``.
        open_control: called once the server listens, with the nursery and the `Listeners`; returns
            the URL of the control port, or ``None``.
        reports: what is reported, and where.
        reloads: what SIGHUP reloads if there is no terminal.
        dual_stack: whether the sockets on :: also accept IPv4.
        upstream: what a proxy relays to.
        open_metrics: called as ``open_control`` is; returns the URL of the metrics.
        tls: that of the TCP sockets; ``None``: they are plain.

    Returns:
        The exit code: 0, or 128 plus the number of the second signal, which ended it at once.
    """
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.systemd import (  # noqa: PLC0415 - the same
        feed_watchdog,
        notify,
        watchdog_seconds,
    )

    status, watchdog = 0, watchdog_seconds(os.environ)
    with trio.open_signal_receiver(*ending_signals()) as signals:
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def serve_to_the_end(*, task_status: trio.TaskStatus[Listeners]) -> None:
                await serve(task_status=task_status)
                ended.set()

            async def end_at_second_signal() -> None:
                nonlocal status
                reload = partial(reload_all, reloads, reports.events)
                status = 128 + await _handle_signals(signals, listeners.shut_down, reload)
                nursery.cancel_scope.cancel()

            listeners: Listeners = await nursery.start(serve_to_the_end)
            control = await open_control(nursery, listeners)
            metrics = "" if open_metrics is None else await open_metrics(nursery, listeners)
            others = OtherAddresses(control, upstream, metrics, tls)
            print_ready(reports, listeners, others, dual_stack=dual_stack)
            nursery.start_soon(reports.run)
            notify(os.environ, "READY=1")
            if watchdog is not None:
                nursery.start_soon(feed_watchdog, os.environ, watchdog)
            nursery.start_soon(end_at_second_signal)
            await ended.wait()
            await reports.finish()
            nursery.cancel_scope.cancel()
    return status


async def _handle_signals(
    signals: AsyncIterator[int], shut_down: Callable[[], None], reload: Callable[[], None]
) -> int:
    """Shut down gracefully at the first signal, and return the second one.

    SIGHUP with a terminal means that the terminal has closed: it shuts down as well, and does not
    count as the second signal, since a shell may repeat it. Without a terminal it means: reload.
    """
    from esps_portal.net.systemd import notify, notify_reloading  # noqa: PLC0415 - help must not wait

    may_reload = not has_terminal()
    closing = False
    async for number in signals:
        if number == SIGHUP and (closing or may_reload):
            if not closing:
                notify_reloading(os.environ)
                reload()
                notify(os.environ, "READY=1")
            continue
        if closing:
            return number
        closing = True
        log.info("%s: closing", signal.Signals(number).name)
        notify(os.environ, "STOPPING=1")
        shut_down()
    raise AssertionError  # pragma: no cover - signals do not end
