"""Attacks by those who ask for much, and do not read it, or slowly."""

from __future__ import annotations

from tests.attacks.attack import Attack, Bounds
from tests.attacks.behaviour import Behaviour
from tests.attacks.measure import Scene, against, serve
from tests.attacks.swarm import Swarm
from tests.patience import PATIENCE

_MUCH = b"a CALL chargen 2000 512\n"  # 1 MB


def never_read(scene: Scene, whole: int) -> str:
    """Ask for much over and over, and never read; each shall be cut off for that."""
    count = scene.scale.count(whole)
    how = Behaviour(again=_MUCH, reads=0, buffer=4096)
    with Swarm(scene.port, [how], count) as swarm:
        swarm.run(2 * PATIENCE)  # each is cut off after 3 s, and there are many
        tally = swarm.tally
    scene.expect(tally.ended == count, f"{count - tally.ended} of {count} were not cut off")
    return f"{tally.opened:,} asked for {tally.sent / len(_MUCH) / 1000:,.0f} GB; all cut off"


def read_slowly(scene: Scene, whole: int) -> str:
    """Ask for much, and read a little every tenth of a second: that is not a stall."""
    count = scene.scale.count(whole)
    how = Behaviour(again=_MUCH, reads=2048, read_pause=0.1, buffer=4096)
    with Swarm(scene.port, [how], count) as swarm:
        swarm.run(scene.seconds)
        tally = swarm.tally
    scene.expect(not tally.ended, f"{tally.ended} were cut off, though they read")
    return f"{tally.opened:,} read {tally.received / 1e6:,.1f} MB"


ATTACKS = (
    Attack(
        "never-read",
        "1,000 connections that ask for 1 MB over and over, and never read",
        against(
            serve("--limit", "stall=3"),
            lambda scene: never_read(scene, 1000),
            Bounds(130, "64 KiB of output for each, and the same of what is to come"),
        ),
    ),
    Attack(
        "slow-readers",
        "500 connections that ask for 1 MB over and over, and read 20 KB/s",
        against(
            serve("--limit", "stall=3"),
            lambda scene: read_slowly(scene, 500),
            Bounds(100, "64 KiB of output for each, and the same of what is to come"),
        ),
    ),
)
