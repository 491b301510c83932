"""Attacks that are a matter of connections: many, idle, slow, cut off, or gone."""

from __future__ import annotations

import attrs

from tests.attacks.attack import Attack, Bounds
from tests.attacks.behaviour import Behaviour
from tests.attacks.measure import Scene, against, serve
from tests.attacks.swarm import Swarm, can_vanish
from tests.attacks.targets import raise_own_limit
from tests.patience import PATIENCE

_OWN = 300  # descriptors of this process that are not hostile connections


def crowd(scene: Scene, behaviour: Behaviour, whole: int) -> str:
    """Keep so many connections for the whole time, and expect that all are served."""
    count = min(scene.scale.count(whole), raise_own_limit() - _OWN)
    with Swarm(scene.port, [behaviour], count) as swarm:
        swarm.run(PATIENCE, until=lambda: swarm.is_open)
        swarm.run(scene.seconds)
        scene.expect(swarm.tally.opened == count, f"only {swarm.tally.opened} connected")
        scene.expect(swarm.count == count, f"{count - swarm.count} were ended")
        return f"{count:,} held, {swarm.tally.sent:,} bytes sent"


def come_and_go(scene: Scene, whole: int) -> str:
    """Connect, read the greeting, go: half with FIN, half with RST."""
    how = [Behaviour(until=b"\n", end=end, returns=True) for end in ("close", "reset")]
    most = scene.scale.count(whole)
    with Swarm(scene.port, how, min(most, 500), most=most) as swarm:
        swarm.run(10 * scene.seconds)
        tally = swarm.tally
    scene.expect(not tally.refused, f"{tally.refused} connects failed")
    return f"{tally.opened:,} of {most:,} connected, {tally.most} at a time"


def ask_and_go(scene: Scene, whole: int) -> str:
    """Connect, ask much, send FIN, read nothing, go: over and over."""
    how = Behaviour(b"a PING\n" * 3000, until=b"", half_closes=True, end="close", returns=True)
    most = scene.scale.count(whole)
    with Swarm(scene.port, [how], min(most, 100), most=most) as swarm:
        swarm.run(2 * scene.seconds)
        tally = swarm.tally
    return f"{tally.opened:,} connected, {tally.sent:,} bytes sent"


#: When a connection is reset.
RESET_STAGES = {
    "at once": Behaviour(until=b""),
    "after the greeting": Behaviour(until=b"\n"),
    "in a line": Behaviour(b"a PIN", until=b""),
    "after a request": Behaviour(b"a PING\n", until=b""),
    "after a reply": Behaviour(b"a PING\n", until=b"a OK"),
    "with replies unread": Behaviour(b"a CALL chargen 100 512\n" * 64, until=b""),
    "in a reply": Behaviour(b"a CALL chargen 2000 512\n" * 9, reads=1000, until=b"DATA"),
    "with a running call": Behaviour(b"a CALL delay 60000\nb PING\n", until=b"b OK"),
    "with a running stream": Behaviour(b"a CALL drip 1000 1\n", until=b"DATA"),
    "after a bad line": Behaviour(b"@\n", until=b"ERR"),
    "after QUIT": Behaviour(b"a QUIT\n", until=b""),
    "after FIN": Behaviour(b"a CALL delay 60000\n", half_closes=True, until=b"\n"),
}


def reset(scene: Scene, whole: int) -> str:
    """Reset connections at each stage of their life."""
    how = [attrs.evolve(b, end="reset", returns=True) for b in RESET_STAGES.values()]
    most = scene.scale.count(whole)
    with Swarm(scene.port, how, min(most, 240), most=most) as swarm:
        swarm.run(2 * scene.seconds)
        opened = swarm.tally.opened
    scene.expect(opened >= min(len(how), most), f"only {opened} connected")
    return f"{opened:,} reset at {len(how)} stages"


def vanish(scene: Scene, whole: int) -> str:
    """Let connections vanish without a packet, of which some are owed a reply."""
    if not can_vanish():
        return half_close(scene, whole) + " (half-closed: to vanish needs CAP_NET_ADMIN)"
    owed = Behaviour(b"a CALL delay 1000\n", until=b"\n", end="vanish")
    quiet = Behaviour(b"a PING\n", until=b"a OK", end="vanish")
    count = scene.scale.count(whole)
    with Swarm(scene.port, [owed, quiet], count) as swarm:
        swarm.run(PATIENCE)
        return f"{swarm.tally.opened:,} vanished; the idle limit is 2 s"


def half_close(scene: Scene, whole: int) -> str:
    """Send FIN while calls run, and stay."""
    count = scene.scale.count(whole)
    how = Behaviour(b"a CALL delay 600000\n", half_closes=True)
    with Swarm(scene.port, [how], count) as swarm:
        swarm.run(PATIENCE)
        tally = swarm.tally
    scene.expect(tally.ended == count, f"{count - tally.ended} of {count} were not ended")
    return f"{tally.opened:,} half-closed, {tally.ended:,} ended; the drain limit is 1 s"


ATTACKS = (
    Attack(
        "slow",
        "2,000 connections that send a byte a second",
        against(
            serve(),
            lambda scene: crowd(scene, Behaviour(again=b"a PING\n", pause=1.0), 2000),
            Bounds(20, "10 KB for each"),
        ),
    ),
    Attack(
        "idle",
        "10,000 idle connections",
        against(
            serve(),
            lambda scene: crowd(scene, Behaviour(), 10_000),
            Bounds(50, "5 KB for each"),
        ),
    ),
    Attack(
        "connects",
        "50,000 connects, 500 at a time, that end with FIN or RST",
        against(
            serve(),
            lambda scene: come_and_go(scene, 50_000),
            Bounds(12, "10 KB for each of 500, and what is being closed"),
        ),
    ),
    Attack(
        "ask-and-go",
        "5,000 connects that ask 3,000 questions each, send FIN and read nothing",
        against(
            serve(),
            lambda scene: ask_and_go(scene, 5_000),
            Bounds(90, "16 KB of requests for each that waits for its turn"),
        ),
    ),
    Attack(
        "resets",
        "RST at each stage of a connection's life",
        against(
            serve(),
            lambda scene: reset(scene, 20_000),
            Bounds(30, "240 connections with 64 KiB of output each, and calls that end"),
        ),
    ),
    Attack(
        "half-open",
        "1,000 connections whose other end has vanished",
        against(
            serve("--limit", "idle=2"),
            lambda scene: vanish(scene, 1000),
            Bounds(25, "10 KB for each, and a running call"),
            lambda target: target.question,
        ),
    ),
    Attack(
        "half-closed",
        "1,000 connections that send FIN while a call runs, and stay",
        against(
            serve("--limit", "drain=1"),
            lambda scene: half_close(scene, 1000),
            Bounds(25, "10 KB for each, and a running call"),
        ),
    ),
)
