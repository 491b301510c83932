"""``esps-portal ping``: whether there is a portal, and how long it takes to reply."""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import print_error
from esps_portal.cli.options import (
    Integer,
    Seconds,
    json_option,
    reply_timeout_option,
    resolve_target,
    target_argument,
    url_option,
)
from esps_portal.cli.output import escaped, print_json, require_stdout
from esps_portal.cli.session import (
    Problem,
    is_refused_by_tls,
    is_unknown_host,
    raise_timed_out,
    run_client,
)
from esps_portal.cli.signals import ending_signals
from esps_portal.cli.slow_notice import notice_if_slow
from esps_portal.cli.tls_options import ClientTLSOptions, client_tls_options
from esps_portal.protocol.errors import EspsError, PeerError
from esps_portal.protocol.urls import PortalURL

if TYPE_CHECKING:
    import ssl

    from esps_portal.client.portal_client import PortalClient


@attrs.define
class Statistics:
    """The statistics of a run of pings, in constant memory. Times are in milliseconds."""

    url: PortalURL
    sent: int = 0
    answered: int = 0
    min_time: float = math.inf
    max_time: float = 0.0
    _mean: float = 0.0
    _sum_of_squares: float = 0.0

    def add(self, time_ms: float) -> None:
        """Count a reply (by Welford's method: a sum of squared times would lose digits)."""
        self.answered += 1
        difference = time_ms - self._mean
        self._mean += difference / self.answered
        self._sum_of_squares += difference * (time_ms - self._mean)
        self.min_time = min(self.min_time, time_ms)
        self.max_time = max(self.max_time, time_ms)

    def as_json(self) -> dict[str, object]:
        """Return the event "summary", for a program."""
        names = ("min_ms", "avg_ms", "max_ms", "mdev_ms")
        times = self._times() if self.answered else (None,) * len(names)
        counts = {"sent": self.sent, "answered": self.answered}
        return {"event": "summary", "url": str(self.url), **counts, **dict(zip(names, times))}  # noqa: B905 - of the same length

    def lines(self) -> list[str]:
        """Return the summary for a person, as ping(8) prints it."""
        lost = 100 * (self.sent - self.answered) / self.sent if self.sent else 0
        lines = [
            f"--- {self.url} ping statistics ---",
            f"{self.sent} sent, {self.answered} answered, {lost:.6g}% lost",
        ]
        if self.answered:
            times = "/".join(f"{time_ms:.3f}" for time_ms in self._times())
            lines.append(f"rtt min/avg/max/mdev = {times} ms")
        return lines

    def _times(self) -> tuple[float, ...]:
        deviation = math.sqrt(self._sum_of_squares / self.answered)
        return self.min_time, self._mean, self.max_time, deviation


@attrs.define
class PingRun:
    """A run of pings, one at a time, and its output.

    Attributes:
        url: the portal's.
        context: what is trusted, if the URL asks for TLS.
        named_by: the parameter that named it, for a hint.
        count: the number of pings; ``None``: until a signal.
        interval: seconds between the starts of two pings; at most one is running.
        timeout: seconds to wait for a reply; then the ping is lost and its connection closed.
        quiet: whether to print the statistics only.
        as_json: whether to print JSON lines.
        statistics: of all pings so far.
        problem: why the last lost ping was lost.
    """

    url: PortalURL
    context: ssl.SSLContext | None
    named_by: str
    count: int | None
    interval: float
    timeout: float
    quiet: bool
    as_json: bool
    statistics: Statistics
    problem: Problem | None = None
    _portal: PortalClient | None = None
    _connection: contextlib.AsyncExitStack = attrs.field(factory=contextlib.AsyncExitStack)
    _was_connected: bool = False

    async def until_signalled(self) -> None:
        """Ping until the count is reached, or until SIGINT, SIGTERM or SIGHUP (but under nohup)."""
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal.cli.name_lookup import watch_lookups  # noqa: PLC0415 - the same

        watch_lookups()
        with trio.open_signal_receiver(*ending_signals()) as signals:
            async with trio.open_nursery() as nursery:

                async def end_at_signal() -> None:
                    await anext(signals)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(end_at_signal)
                async with self._connection:
                    await self._ping_all()
                nursery.cancel_scope.cancel()

    async def _ping_all(self) -> None:
        import trio  # noqa: PLC0415 - help must not wait for it

        while True:
            start = trio.current_time()
            self.statistics.sent += 1
            try:
                time_ms = await self._ping()
            except EspsError as error:
                if not await self._count_loss(error):
                    return
            else:
                self.statistics.add(time_ms)
                self._print_pong(time_ms)
            if self.statistics.sent == self.count:
                return
            with trio.move_on_at(start + self.interval):
                await self._watch_connection()

    async def _ping(self) -> float:
        """Return the time of the reply in milliseconds, without the time to connect."""
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same

        with trio.move_on_after(self.timeout):
            if self._portal is None:
                connecting = connect(str(self.url), ssl_context=self.context)
                with contextlib.nullcontext() if self.quiet else notice_if_slow(str(self.url)):
                    self._portal = await self._connection.enter_async_context(connecting)
                self._was_connected = True
            start = time.perf_counter()
            await self._portal.ping(str(self.statistics.sent))
            return (time.perf_counter() - start) * 1000
        return raise_timed_out(self._portal, self.url, self.timeout)

    async def _count_loss(self, error: EspsError) -> bool:
        """Count a ping as lost, and close its connection. Return whether to go on."""
        greeted = self._portal is not None
        self.problem = Problem.of(error, self.url, greeted=greeted, named_by=self.named_by)
        self._print_loss(self.problem)
        await self._disconnect()
        # As in ping(8), a host that is down may come up, but an unknown name ends the run; and so
        # does a peer that is not a portal, or not the one that was meant, by its certificate. A
        # portal that was connected once may come back.
        not_a_portal = isinstance(error, PeerError) and bool(error.received)
        is_wrong = not_a_portal or is_unknown_host(error) or is_refused_by_tls(error)
        return self._was_connected or not is_wrong

    async def _watch_connection(self) -> None:
        """Wait to be cancelled. If the portal closes the connection meanwhile, no ping is lost."""
        import trio  # noqa: PLC0415 - help must not wait for it

        if self._portal is not None:
            try:
                await self._portal.wait_closed()
            except EspsError:
                await self._disconnect()
        await trio.sleep_forever()

    async def _disconnect(self) -> None:
        self._portal = None
        await self._connection.aclose()

    def _print_pong(self, time_ms: float) -> None:
        if self.quiet:
            return
        if self.as_json:
            print_json({"event": "pong", "seq": self.statistics.sent, "ms": time_ms})
        else:
            click.echo(f"pong from {self.url}: seq={self.statistics.sent} time={time_ms:.3f} ms")

    def _print_loss(self, problem: Problem) -> None:
        if self.quiet:
            return
        if self.as_json:
            event = {"event": "lost", "seq": self.statistics.sent, "ms": None}
            print_json({**event, **problem.as_json()})
            return
        reason = escaped(problem.message.encode()).removeprefix(f"cannot connect to {self.url}: ")
        click.echo(f"no pong from {self.url}: seq={self.statistics.sent} ({reason})")

    def print_statistics(self) -> None:
        """Print the statistics."""
        if self.as_json:
            print_json(self.statistics.as_json())
        else:
            click.echo("\n".join(("", *self.statistics.lines())))


@click.command("ping")
@target_argument
@url_option
@client_tls_options
@click.option(
    "-c", "--count", type=Integer(min=1), default=None, help="Stop after this many pings."
)
@click.option(
    "-i",
    "--interval",
    type=Seconds(min=0),
    default=1.0,
    show_default=True,
    help="Seconds between pings.",
)
@reply_timeout_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the statistics.")
@json_option
def ping_command(  # noqa: PLR0913 - click hands every option over as a parameter
    target: PortalURL | None,
    url: PortalURL,
    count: int | None,
    interval: float,
    timeout: float,
    *,
    tls: ClientTLSOptions,
    quiet: bool,
    as_json: bool,
) -> None:
    """Ping a portal until Ctrl-C, and print statistics.

    TARGET is HOST, HOST:PORT, [::1]:PORT or a URL. A ping without a reply in
    time is lost, and the next one uses a new connection. If the portal is
    down, pings go on until it is up. Only an unknown host, or a server that
    is not a portal, ends the command at once.

    The statistics are printed at the end, also after Ctrl-C and SIGTERM.
    Exits 0 if any ping was answered, else 1.

    \b
    Examples:
      esps-portal ping
      esps-portal ping -c 3 -W 1 192.0.2.7:2867
      esps-portal ping -q -i 0 -c 1000 esps+udp://localhost
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
    require_stdout()
    named_by = "--url" if target is None else "TARGET"
    url = resolve_target(target, url)
    context = tls.context(url)
    pings = PingRun(
        url, context, named_by, count, interval, timeout, quiet, as_json, Statistics(url)
    )
    with contextlib.suppress(click.exceptions.Exit):  # Ctrl-C before its handler was installed
        run_client(pings.until_signalled)
    pings.print_statistics()
    if pings.statistics.answered:
        return
    if pings.problem is not None:
        print_error(pings.problem.line)
    raise click.exceptions.Exit(1)
