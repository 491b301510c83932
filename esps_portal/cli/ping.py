"""``esps-portal ping``: whether there is a portal, and how long it takes to answer."""

from __future__ import annotations

import math
import statistics
import time

import attrs
import click

from esps_portal.cli.errors import fail
from esps_portal.cli.errors import run as run_command
from esps_portal.cli.options import Seconds, json_option, timeout_option, url_option
from esps_portal.cli.output import print_json
from esps_portal.protocol.errors import TimedOutError


@attrs.define
class Tally:
    """The statistics of a run of pings. Times are in milliseconds."""

    url: str
    sent: int = 0
    lost: int = 0
    times: list[float] = attrs.field(factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the summary for a program."""
        return {"event": "summary", "url": self.url, **self._figures()}

    def lines(self) -> list[str]:
        """Return the summary as people know it from ping."""
        lost = 100 * (self.sent - len(self.times)) / self.sent if self.sent else 0
        found = [
            f"--- {self.url} ping statistics ---",
            f"{self.sent} sent, {len(self.times)} answered, {lost:.0f}% lost",
        ]
        if self.times:
            figures = (min(self.times), statistics.fmean(self.times), max(self.times))
            deviation = statistics.pstdev(self.times)
            shown = "/".join(f"{figure:.3f}" for figure in (*figures, deviation))
            found.append(f"rtt min/avg/max/mdev = {shown} ms")
        return found

    def _figures(self) -> dict[str, object]:
        times = self.times
        return {
            "sent": self.sent,
            "answered": len(times),
            "min_ms": min(times, default=None),
            "avg_ms": statistics.fmean(times) if times else None,
            "max_ms": max(times, default=None),
            "mdev_ms": statistics.pstdev(times) if times else None,
        }


@click.command("ping")
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
    help="Seconds between two pings.",
)
@timeout_option
@json_option
def ping_command(
    url: str, count: int | None, interval: float, timeout: float, *, as_json: bool
) -> None:
    """Ask a portal for a sign of life, again and again until Ctrl-C.

    A ping that is not answered in time is lost, and the next one follows.
    Exits 0 if every ping was answered, else 1.
    """
    tally = Tally(url)

    async def asked() -> None:
        import trio  # noqa: PLC0415 - help must not wait for it

        from esps_portal import connect  # noqa: PLC0415 - the same

        with trio.fail_after(timeout) as connecting:
            async with connect(url) as portal:
                connecting.deadline = math.inf
                while count is None or tally.sent < count:
                    if tally.sent:
                        await trio.sleep(interval)
                    tally.sent += 1
                    start = time.perf_counter()
                    try:
                        with trio.fail_after(timeout):
                            await portal.ping(str(tally.sent))
                    except (trio.TooSlowError, TimedOutError):
                        tally.lost += 1
                        _show(tally, None, as_json=as_json)
                        continue
                    tally.times.append((time.perf_counter() - start) * 1000)
                    _show(tally, tally.times[-1], as_json=as_json)

    try:
        run_command(asked, timeout, bound=False, url=url, as_json=as_json)
    except click.exceptions.Exit as ended:
        _summarise(tally, as_json=as_json)
        interrupted = ended.exit_code != 1
        if interrupted and tally.times and not tally.lost:
            return
        raise
    _summarise(tally, as_json=as_json)
    if tally.lost:
        fail("esps-portal: not every ping was answered")


def _show(tally: Tally, took: float | None, *, as_json: bool) -> None:
    number = tally.sent
    if as_json:
        event = "lost" if took is None else "pong"
        print_json({"event": event, "seq": number, "ms": took})
    elif took is None:
        click.echo(f"no answer from {tally.url}: seq={number}")
    else:
        click.echo(f"pong from {tally.url}: seq={number} time={took:.3f} ms")


def _summarise(tally: Tally, *, as_json: bool) -> None:
    if not tally.sent:
        return
    if as_json:
        print_json(tally.as_json())
    else:
        click.echo("\n".join(("", *tally.lines())))
