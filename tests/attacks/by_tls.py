"""Attacks on TLS handshakes: that stall, that are none, that end in the middle."""

from __future__ import annotations

import ssl

import attrs

from tests.attacks.attack import Attack, Bounds
from tests.attacks.behaviour import Behaviour
from tests.attacks.measure import Scene, against, serve
from tests.attacks.polite import Question
from tests.attacks.swarm import Swarm
from tests.attacks.targets import Target
from tests.patience import PATIENCE


def client_hello() -> bytes:
    """Return the first bytes of a handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError


def stall(scene: Scene, whole: int) -> str:
    """Begin handshakes, and say no more at different points; each shall be ended for that."""
    hello, count = client_hello(), scene.scale.count(whole)
    stages = [Behaviour(hello[:size]) for size in (0, 1, 5, len(hello) // 2, len(hello))]
    with Swarm(scene.port, stages, count) as swarm:
        swarm.run(PATIENCE)
        tally = swarm.tally
    scene.expect(tally.ended == count, f"{count - tally.ended} of {count} were not ended")
    return f"{tally.opened:,} stalled at {len(stages)} points, {tally.ended:,} ended after 2 s"


def disturb(scene: Scene, whole: int) -> str:
    """Send what is not a handshake, or break it off, over and over."""
    hello, most = client_hello(), scene.scale.count(whole)
    wrong = bytearray(hello)
    wrong[len(hello) // 2 :] = bytes(len(hello) - len(hello) // 2)
    stages = [
        Behaviour(b"a PING\n", returns=True),
        Behaviour(b"\x16" + b"\xff" * 2000, returns=True),
        Behaviour(bytes(wrong), returns=True),
        Behaviour(hello, until=b"", end="reset", returns=True),
        Behaviour(hello, until=b"\x16", end="reset", returns=True),
        Behaviour(hello[:99], half_closes=True, returns=True),
    ]
    with Swarm(scene.port, stages, min(most, 60), most=most) as swarm:
        swarm.run(2 * scene.seconds)
        return f"{swarm.tally.opened:,} handshakes of {len(stages)} kinds failed"


def over_tls(target: Target) -> Question:
    """Ask over TLS, and connect with a handshake."""
    cafile = str(target.ready["tls_ca"])
    return attrs.evolve(target.question, transport="tls", cafile=cafile)


_SERVE = serve("--tls-self-signed", "--limit", "stall=2")

ATTACKS = (
    Attack(
        "tls-stall",
        "1,000 TLS handshakes that stall at five points",
        against(
            _SERVE,
            lambda scene: stall(scene, 1000),
            Bounds(40, "30 KB for each, most of it OpenSSL's"),
            over_tls,
        ),
    ),
    Attack(
        "tls-broken",
        "5,000 handshakes that are none, or break off",
        against(
            _SERVE,
            lambda scene: disturb(scene, 5000),
            Bounds(15, "100 KB for each of 60, and what OpenSSL keeps"),
            over_tls,
        ),
    ),
)
