"""What is done to a portal, done to a proxy in front of one, and to a peer."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Bounds, Scale
from tests.attacks.behaviour import Behaviour
from tests.attacks.by_connections import crowd, reset
from tests.attacks.by_lines import BAD_LINES, send_lines
from tests.attacks.measure import Scene, against
from tests.attacks.swarm import Swarm
from tests.attacks.targets import Target, started

_SCENARIO = """
[[peers]]
name = "pings"
framing = "lines:lf"
greeting = "hello"

[[peers.stubs]]
match = "a PING"
reply = "a OK"
"""


@contextlib.contextmanager
def proxy(scale: Scale) -> Iterator[Target]:
    """Start a proxy in front of a portal; the proxy is measured."""
    with started("serve") as portal:
        upstream = f"tcp://127.0.0.1:{portal.port}"
        with started("proxy", "--upstream", upstream, is_pinned=scale.is_pinned) as target:
            yield target


@contextlib.contextmanager
def peer(scale: Scale) -> Iterator[Target]:
    """Start a peer that answers one line."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "peer.toml"
        scenario.write_text(_SCENARIO, encoding="ascii")
        with started("peer", "--scenario", str(scenario), is_pinned=scale.is_pinned) as target:
            yield target


def never_read(scene: Scene, line: bytes, whole: int) -> str:
    """Ask for much over and over, and never read."""
    how = Behaviour(again=line, reads=0, buffer=4096)
    count = scene.scale.count(whole)
    with Swarm(scene.port, [how], count) as swarm:
        swarm.run(scene.seconds)
        return f"{swarm.tally.opened:,} sent {swarm.tally.sent / 1e6:,.0f} MB and read nothing"


_SLOW = Behaviour(again=b"a PING\n", pause=1.0)
_CHARGEN = b"a CALL chargen 2000 512\n"

ATTACKS = (
    Attack(
        "proxy-slow",
        "1,000 connections through a proxy that send a byte a second",
        against(proxy, lambda scene: crowd(scene, _SLOW, 1000), Bounds(45, "30 KB for each pair")),
    ),
    Attack(
        "proxy-unread",
        "100 connections through a proxy that ask for 1 MB over and over, and never read",
        against(
            proxy,
            lambda scene: never_read(scene, _CHARGEN, 100),
            Bounds(40, "64 KiB each way, and the first 64 KiB of both sides for the journal"),
        ),
    ),
    Attack(
        "proxy-resets",
        "RST at each stage, through a proxy",
        against(
            proxy, lambda scene: reset(scene, 5000), Bounds(30, "240 pairs, and their journal")
        ),
    ),
    Attack(
        "peer-slow",
        "1,000 connections to a peer that send a byte a second",
        against(peer, lambda scene: crowd(scene, _SLOW, 1000), Bounds(45, "30 KB for each")),
    ),
    Attack(
        "peer-unread",
        "100 connections to a peer that ask over and over, and never read",
        against(
            peer,
            lambda scene: never_read(scene, b"a PING\n", 100),
            Bounds(60, "64 KiB each way, and the journal of 10,000 requests"),
        ),
    ),
    Attack(
        "peer-lines",
        "lines that no stub answers, and lines without an end, to a peer",
        against(
            peer,
            lambda scene: "; ".join(
                send_lines(scene, line, 20, 1 << 24, first=b"a PING\n")
                for line in (BAD_LINES, b"x" * 5000)
            ),
            Bounds(30, "the journal of 10,000 requests"),
        ),
    ),
    Attack(
        "peer-resets",
        "RST at each stage, to a peer",
        against(
            peer, lambda scene: reset(scene, 5000), Bounds(25, "240 connections, and a journal")
        ),
    ),
)
