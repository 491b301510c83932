"""A server in the foreground: what it prints once it listens, and how signals end it.

`serve`, `proxy` and `peer` share this.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.errors import INTERRUPTED, exit_with_error, ungrouped
from esps_portal.cli.ready import OtherAddresses, print_ready
from esps_portal.cli.reloading import Reload, reload_all
from esps_portal.cli.signals import SIGHUP, ending_signals, has_terminal
from esps_portal.log import log

if TYPE_CHECKING:
    import trio

    from esps_portal.cli.reports import Reports
    from esps_portal.control.named_servers import NamedServer
    from esps_portal.net.bind import CannotBindError
    from esps_portal.net.listeners import Listeners
    from esps_portal.net.tls_server import ServerTLS


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
        with ungrouped(CannotBindError, KeyboardInterrupt):
            status = trio.run(main)
    except CannotBindError as error:
        from esps_portal.inspection import bind_hints  # noqa: PLC0415 - the same

        options = bind_hints.BindOptions(port=option_of(error))
        exit_with_error(f"{error}{bind_hints.bind_hint(error, options)}")
    except KeyboardInterrupt:
        raise click.exceptions.Exit(INTERRUPTED) from None
    raise click.exceptions.Exit(status)


@attrs.define(eq=False, kw_only=True)
class ForegroundServer:
    """A server that runs until a signal, or the server itself, ends it.

    Attributes:
        serve: the server; it reports a `Listeners` to its ``task_status``.
        on_listening: called once the server listens, with the nursery and the `Listeners`; returns
            the URL of the control port, or ``None``.
        reports: what is reported, and where.
        reloads: what SIGHUP reloads if there is no terminal.
        dual_stack: whether the sockets on :: also accept IPv4.
        upstream: what a proxy relays to.
        open_metrics: called as ``on_listening`` is; returns the URL of the metrics.
        tls: that of the TCP sockets; ``None``: they are plain.
        beside: the proxies and peers that ``on_listening`` has started, by their kind.
    """

    serve: Callable[..., Awaitable[None]]
    on_listening: Callable[[trio.Nursery, Any], Awaitable[str | None]]
    reports: Reports
    reloads: Sequence[Reload] = ()
    dual_stack: bool = False
    upstream: str = ""
    open_metrics: Callable[[trio.Nursery, Any], Awaitable[str]] | None = None
    tls: ServerTLS | None = None
    beside: Mapping[str, Sequence[NamedServer]] = attrs.field(factory=dict)
    _status: int = attrs.field(default=0, init=False)

    async def run(self) -> int:
        """Serve, print the addresses, and handle signals until the end.

        Returns:
            The exit code: 0, or 128 plus the number of the second signal, which ended it at once.
        """
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal.net.systemd import (  # noqa: PLC0415 - the same
            feed_watchdog,
            watchdog_seconds,
        )

        watchdog = watchdog_seconds(os.environ)
        with trio.open_signal_receiver(*ending_signals()) as signals:
            async with trio.open_nursery() as nursery:
                ended = trio.Event()

                async def serve_to_the_end(*, task_status: trio.TaskStatus[Listeners]) -> None:
                    await self.serve(task_status=task_status)
                    ended.set()

                listeners: Listeners = await nursery.start(serve_to_the_end)
                await self._announce(nursery, listeners)
                if watchdog is not None:
                    nursery.start_soon(feed_watchdog, os.environ, watchdog)
                scope = nursery.cancel_scope
                nursery.start_soon(self._end_at_second_signal, signals, listeners, scope)
                await ended.wait()
                await self.reports.finish()
                scope.cancel()
        return self._status

    async def _announce(self, nursery: trio.Nursery, listeners: Listeners) -> None:
        """Open what is beside the server, and say that it listens: to people and to systemd."""
        from esps_portal.net.systemd import notify  # noqa: PLC0415 - help must not wait

        control = await self.on_listening(nursery, listeners)
        metrics = "" if self.open_metrics is None else await self.open_metrics(nursery, listeners)
        others = OtherAddresses(control, self.upstream, metrics, self.tls, self.beside)
        print_ready(self.reports, listeners, others, dual_stack=self.dual_stack)
        nursery.start_soon(self.reports.run)
        notify(os.environ, "READY=1")
        # Modules stay. Without them each full collection of garbage, during which nobody is
        # served, takes 27 ms less here.
        gc.freeze()
        gc.enable()  # since `ServerCommand` has disabled it

    async def _end_at_second_signal(
        self, signals: AsyncIterator[int], listeners: Listeners, scope: trio.CancelScope
    ) -> None:
        reload = partial(reload_all, self.reloads, self.reports.events)
        self._status = 128 + await _handle_signals(signals, listeners.shut_down, reload)
        scope.cancel()


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
