"""Attacks on the control port, beside a polite client of it and one of the portal."""

from __future__ import annotations

import json

from tests.attacks.attack import Attack, Bounds
from tests.attacks.behaviour import Behaviour
from tests.attacks.measure import Scene, against, serve
from tests.attacks.polite import Question
from tests.attacks.swarm import Swarm
from tests.attacks.targets import Target


def request(head: str, body: bytes = b"", *, host: str = "127.0.0.1") -> bytes:
    """Return a request of HTTP with a JSON body."""
    fields = f"{head} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


#: What is sent to it: no HTTP, HTTP that has no end, and requests that are wrong or dear.
KINDS = {
    "noise": Behaviour(again=b"\x00\xff@\n", returns=True),
    "ESPS/1": Behaviour(again=b"a PING\n", returns=True),
    "endless head": Behaviour(b"GET /calls HTTP/1.1\r\n", b"X: y\r\n", returns=True),
    "endless line": Behaviour(b"GET /", b"x" * 1000, returns=True),
    "endless body": Behaviour(
        b"PUT /scenario HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/toml\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"400\r\n" + b"#" * 1024 + b"\r\n",
        returns=True,
    ),
    "a byte a second": Behaviour(again=b"GET /calls HTTP/1.1\r\n", pause=1.0),
    "deep JSON": Behaviour(again=request("POST /stubs", _deep(100_000)), returns=True),
    "long numbers": Behaviour(
        again=request("POST /faults", b'{"fault": "close", "times": %b}' % (b"9" * 100_000)),
        returns=True,
    ),
    "wrong keys": Behaviour(
        again=request("POST /stubs", json.dumps({f"k{n}": n for n in range(5000)}).encode()),
        returns=True,
    ),
    "other hosts": Behaviour(again=request("GET /calls", host="evil.example"), returns=True),
    "waits": Behaviour(
        again=request("POST /wait", b'{"service": "x", "count": 1, "timeout": 60}'), returns=True
    ),
    "never read": Behaviour(again=request("GET /openapi.json"), reads=0, returns=True),
    "resets": Behaviour(request("GET /calls"), until=b"", end="reset", returns=True),
}


def assail(scene: Scene, whole: int) -> str:
    """Send all kinds to the control port at once."""
    count = max(len(KINDS), scene.scale.count(whole))
    with Swarm(scene.target.control, KINDS.values(), count) as swarm:
        swarm.run(scene.seconds)
        tally = swarm.tally
    return f"{len(KINDS)} kinds: {tally.opened:,} connections, {tally.sent / 1e6:,.0f} MB"


def hoard(scene: Scene, whole: int) -> str:
    """Open as many connections as there may be, and more, and say nothing."""
    count = scene.scale.count(whole)
    with Swarm(scene.target.control, [Behaviour(returns=True)], count) as swarm:
        swarm.run(scene.seconds)
        tally = swarm.tally
    return f"{tally.opened:,} connections, {tally.most:,} at a time"


def over_control(target: Target) -> Question:
    """Ask the control port for its version, as curl does: it closes idle connections for others."""
    ask = f"GET /version HTTP/1.1\r\nHost: 127.0.0.1:{target.control}\r\n\r\n"
    return Question(target.control, ask, "}\n", "", is_always_new=True, pause=0.01)


# Who asks over a new connection each time is behind those that others have opened before: hence the
# bound of the work before an answer.
ATTACKS = (
    Attack(
        "control",
        f"100 connections to the control port, of {len(KINDS)} kinds, beside a client of it",
        against(
            serve("--control"),
            lambda scene: assail(scene, 100),
            Bounds(20, "8 connections with a body of 1 MiB each, and 100 others", work=0.4),
            over_control,
        ),
    ),
    Attack(
        "control-portal",
        "the same, beside a client of the portal",
        against(
            serve("--control"),
            lambda scene: assail(scene, 100),
            Bounds(20, "8 connections with a body of 1 MiB each, and 100 others"),
        ),
    ),
    Attack(
        "control-idle",
        "500 connections to the control port that say nothing",
        against(
            serve("--control"),
            lambda scene: hoard(scene, 500),
            Bounds(10, "50 KB for each of the 128 for which it has room", work=0.4),
            over_control,
        ),
    ),
)
