"""``esps-portal ping``: whether there is a portal, and how long it takes to answer."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.errors import complain
from esps_portal.cli.options import (
    Seconds,
    json_option,
    portal_named,
    target_argument,
    timeout_option,
    url_option,
)
from esps_portal.cli.output import need_output, print_json, text
from esps_portal.cli.session import Problem, is_unknown_host, run, too_late
from esps_portal.protocol.errors import EspsError, PeerError

if TYPE_CHECKING:
    from esps_portal.client.portal_client import PortalClient


@attrs.define
class Tally:
    """The statistics of a run of pings, in constant memory. Times are in milliseconds."""

    url: str
    sent: int = 0
    answered: int = 0
    least: float = math.inf
    most: float = 0.0
    _mean: float = 0.0
    _squares: float = 0.0

    def add(self, took: float) -> None:
        """Count an answer (Welford's method: sums of squares would lose digits)."""
        self.answered += 1
        off = took - self._mean
        self._mean += off / self.answered
        self._squares += off * (took - self._mean)
        self.least = min(self.least, took)
        self.most = max(self.most, took)

    def as_json(self) -> dict[str, object]:
        """Return the summary for a program."""
        names = ("min_ms", "avg_ms", "max_ms", "mdev_ms")
        figures = self._figures() if self.answered else (None,) * len(names)
        counts = {"sent": self.sent, "answered": self.answered}
        return {"event": "summary", "url": self.url, **counts, **dict(zip(names, figures))}  # noqa: B905 - as many

    def lines(self) -> list[str]:
        """Return the summary as people know it from ping."""
        lost = 100 * (self.sent - self.answered) / self.sent if self.sent else 0
        found = [
            f"--- {self.url} ping statistics ---",
            f"{self.sent} sent, {self.answered} answered, {lost:.6g}% lost",
        ]
        if self.answered:
            shown = "/".join(f"{figure:.3f}" for figure in self._figures())
            found.append(f"rtt min/avg/max/mdev = {shown} ms")
        return found

    def _figures(self) -> tuple[float, ...]:
        return self.least, self._mean, self.most, math.sqrt(self._squares / self.answered)


@attrs.define
class Pinging:
    """A run of pings, one at a time, and what it reports.

    Attributes:
        count: how many; ``None``: until a signal.
        interval: seconds from one ping to the next; the next one waits for this one's answer.
        timeout: seconds after which a ping, and its connection, is given up.
        problem: why the last lost ping was lost.
    """

    url: str
    count: int | None
    interval: float
    timeout: float
    quiet: bool
    as_json: bool
    tally: Tally
    problem: Problem | None = None
    _portal: PortalClient | None = None
    _connection: contextlib.AsyncExitStack = attrs.field(factory=contextlib.AsyncExitStack)
    _was_there: bool = False

    async def until_signalled(self) -> None:
        """Ping until the count is reached, or SIGINT or SIGTERM comes."""
        import trio  # noqa: PLC0415 - help must not wait for it

        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def end() -> None:
                    await anext(signals)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(end)
                async with self._connection:
                    await self._ping_all()
                nursery.cancel_scope.cancel()

    async def _ping_all(self) -> None:
        import trio  # noqa: PLC0415 - help must not wait for it

        while True:
            begun = trio.current_time()
            self.tally.sent += 1
            try:
                took = await self._ping()
            except EspsError as error:
                if not await self._lose(error):
                    return
            else:
                self.tally.add(took)
                self._show_pong(took)
            if self.tally.sent == self.count:
                return
            with trio.move_on_at(begun + self.interval):
                await self._rest()

    async def _ping(self) -> float:
        """Return how many milliseconds the answer took; connecting is not part of them."""
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same

        with trio.move_on_after(self.timeout):
            if self._portal is None:
                self._portal = await self._connection.enter_async_context(connect(self.url))
                self._was_there = True
            start = time.perf_counter()
            await self._portal.ping(str(self.tally.sent))
            return (time.perf_counter() - start) * 1000
        raise too_late(self._portal, self.url, self.timeout)

    async def _lose(self, error: EspsError) -> bool:
        """Count a ping as lost, and its connection with it. Return whether to go on."""
        self.problem = Problem.of(error, self.url, greeted=self._portal is not None)
        self._show_loss(self.problem)
        await self._disconnect()
        # As ping(8): a host that is down may come up, and a name that is unknown ends it. So does
        # what is no portal. Once there was one, it may come back.
        stranger = isinstance(error, PeerError) and bool(error.received)
        return self._was_there or not (stranger or is_unknown_host(error))

    async def _rest(self) -> None:
        """Wait to be cancelled. A portal that ends its connection meanwhile has lost no ping."""
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

    def _show_pong(self, took: float) -> None:
        if self.quiet:
            return
        if self.as_json:
            print_json({"event": "pong", "seq": self.tally.sent, "ms": took})
        else:
            click.echo(f"pong from {self.url}: seq={self.tally.sent} time={took:.3f} ms")

    def _show_loss(self, problem: Problem) -> None:
        if self.quiet:
            return
        if self.as_json:
            event = {"event": "lost", "seq": self.tally.sent, "ms": None}
            print_json({**event, **problem.as_json()})
            return
        reason = text(problem.message.encode()).removeprefix(f"cannot connect to {self.url}: ")
        click.echo(f"no pong from {self.url}: seq={self.tally.sent} ({reason})")

    def summarise(self) -> None:
        """Print the statistics."""
        if self.as_json:
            print_json(self.tally.as_json())
        else:
            click.echo("\n".join(("", *self.tally.lines())))


@click.command("ping")
@target_argument
@url_option
@click.option(
    "-c", "--count", type=click.IntRange(min=1), default=None, help="Stop after this many pings."
)
@click.option(
    "-i",
    "--interval",
    type=Seconds(min=0),
    default=1.0,
    show_default=True,
    help="Seconds from one ping to the next.",
)
@timeout_option
@click.option("-q", "--quiet", is_flag=True, help="Print the statistics alone.")
@json_option
def ping_command(  # noqa: PLR0913 - click hands every option over as a parameter
    target: str | None,
    url: str,
    count: int | None,
    interval: float,
    timeout: float,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    """Ask a portal for a sign of life, again and again until Ctrl-C.

    TARGET is HOST, HOST:PORT, [::1]:PORT or a URL. A ping that is not answered
    in time is lost, and the next one follows, on a new connection. A portal
    that is not there, or goes, is waited for. Only an unknown host, and a
    server that never was a portal, end it at once.

    Statistics come last, after Ctrl-C and SIGTERM too. Exits 0 if any ping was
    answered, else 1.

    \b
    Examples:
      esps-portal ping
      esps-portal ping -c 3 -W 1 192.0.2.7:2867
      esps-portal ping -q -i 0 -c 1000 esps+udp://localhost
    """  # noqa: D301 - click wants the character itself in front of what keeps its lines
    need_output()
    url = portal_named(target, url)
    pinging = Pinging(url, count, interval, timeout, quiet, as_json, Tally(url))
    with contextlib.suppress(click.exceptions.Exit):  # Ctrl-C before it could be waited for
        run(pinging.until_signalled)
    pinging.summarise()
    if pinging.tally.answered:
        return
    if pinging.problem is not None:
        complain(pinging.problem.line)
    raise click.exceptions.Exit(1)
