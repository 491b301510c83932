"""Attacks on what the machine has: descriptors, room on the disk, the process itself."""

from __future__ import annotations

import contextlib
import resource
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Attack, Bounds, Latency, Outcome, Scale
from tests.attacks.behaviour import Behaviour
from tests.attacks.gauge import descriptors, usage
from tests.attacks.measure import Scene, against, serve
from tests.attacks.swarm import Swarm
from tests.attacks.targets import Target, limit_descriptors, started

_FREE = 100  # descriptors that are left to the server
_DISK = 200_000  # bytes after which the disk is full
_RESTART = 5.0  # seconds that a start may take on a busy machine


def exhaust_descriptors(scene: Scene, whole: int) -> str:
    """Connect more often than the server has descriptors, and go."""
    count = _FREE + scene.scale.count(whole)
    limit_descriptors(scene.target.pid, descriptors(scene.target.pid) + _FREE)
    with Swarm(scene.port, [Behaviour()], count) as swarm:
        swarm.run(scene.seconds)
        tally = swarm.tally
    refused = tally.last["* BYE busy"]
    scene.expect(refused > 0, "nobody was told that there is no room")
    until = time.monotonic() + 10
    while not (is_room := _is_served(scene.port)) and time.monotonic() < until:
        time.sleep(0.05)
    scene.expect(is_room, "a newcomer is refused though the others have gone")
    return f"{_FREE} descriptors for {count:,} connections, {refused:,} of which got BYE busy"


def _is_served(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        return client.recv(100).startswith(b"* ESPS/1 ")


def fill_disk(scene: Scene) -> str:
    """Have a recording reach the end of its disk."""
    how = Behaviour(again=b"a CALL echo full\n", returns=True)
    most = (_DISK, resource.RLIM_INFINITY)
    resource.prlimit(scene.target.pid, resource.RLIMIT_FSIZE, most)
    with Swarm(scene.port, [how], 10) as swarm:
        swarm.run(scene.seconds)
        sent = swarm.tally.sent
    until = time.monotonic() + 5
    while not (said := _said(scene.target, "has ended")) and time.monotonic() < until:
        time.sleep(0.05)
    # There is room again for what measures the coverage of the server, and writes as it ends.
    resource.prlimit(
        scene.target.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    scene.expect(said == 1, f"the log tells {said} times that the recording has ended, not once")
    return f"{sent:,} bytes of requests; no file may be longer than {_DISK:,} bytes"


@contextlib.contextmanager
def _recording(scale: Scale) -> Iterator[Target]:
    with (
        tempfile.TemporaryDirectory() as folder,
        started("serve", "--record", f"{folder}/calls", is_pinned=scale.is_pinned) as target,
    ):
        yield target


def _said(target: Target, words: str) -> int:
    return sum(words in line for line in target.log.lines)


def kill_and_restart(scale: Scale) -> Outcome:
    """Kill the server in the middle of its work and start it on the same port, over and over."""
    began = killed = time.monotonic()
    back: list[float] = []
    problems: list[str] = []
    busy = Behaviour(b"c CALL delay 60000\n", b"a CALL echo x\n", returns=True)
    with tempfile.TemporaryDirectory() as folder:
        record, port = str(Path(folder) / "calls.jsonl"), 0
        for number in range(max(2, scale.count(15))):
            with started("serve", "--record", record, port=port) as target:
                port = target.port
                if number:
                    problems += _unanswered(port)
                    back.append(time.monotonic() - killed)
                used = usage(target.pid)
                with Swarm(port, [busy], scale.count(200)) as swarm:
                    swarm.run(scale.seconds / 15)
                    peak = usage(target.pid)
                    target.process.kill()
                    killed = time.monotonic()
                    target.process.wait()
            problems += target.log.problems
        with started("serve", "--replay", record) as target:
            after = usage(target.pid)
    back.sort()
    seen = Latency(back[len(back) // 2], back[-1], back[-1], back[-1], len(back), 0)
    did = f"killed {len(back) + 1} times; the times are those from SIGKILL to the next answers"
    if scale.judges_time and back[-1] > _RESTART:
        problems.append(f"a restart took {back[-1]:.1f} s")
    return Outcome(did, tuple(problems), seen, used, peak, after, time.monotonic() - began)


def _unanswered(port: int) -> list[str]:
    """Return what is not answered on a port, over TCP and UDP."""
    problems = []
    for kind, greeting in ((socket.SOCK_STREAM, True), (socket.SOCK_DGRAM, False)):
        try:
            with socket.socket(socket.AF_INET, kind) as client:
                client.settimeout(5)
                client.connect(("127.0.0.1", port))
                client.send(b"again PING\n")
                while greeting and not client.recv(1).endswith(b"\n"):
                    pass
                if client.recv(100) != b"again OK\n":
                    problems.append(f"{kind.name}: no answer after a restart")
        except OSError as error:
            problems.append(f"{kind.name}: {error} after a restart")
    return problems


ATTACKS = (
    Attack(
        "descriptors",
        "600 connections to a server that has 100 descriptors left",
        against(
            serve(),
            lambda scene: exhaust_descriptors(scene, 500),
            Bounds(8, "10 KB for each of 100", may_refuse=True),
        ),
    ),
    Attack(
        "disk-full",
        "a recording whose disk is full",
        against(_recording, fill_disk, Bounds(8, "10 connections"), ends_with=1),
    ),
    Attack(
        "kill",
        "kill -9 in the middle of work, and a start on the same port",
        kill_and_restart,
    ),
)
