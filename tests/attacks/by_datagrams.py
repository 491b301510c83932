"""Attacks by datagrams: of every size, and of calls that have to be remembered."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import attrs

from tests.attacks.attack import Attack, Bounds, Scale
from tests.attacks.gauge import datagrams_lost
from tests.attacks.measure import Scene, against, serve
from tests.attacks.polite import Question
from tests.attacks.polite_client import FIRST_WAIT
from tests.attacks.targets import Target
from tests.patience import PATIENCE

SIZES = (0, 1, 2, 7, 8, 63, 64, 65, 511, 512, 1199, 1200, 1201, 1472, 8192, 8193, 32768, 65507)
_LONGEST = 65507  # bytes: what UDP carries over IPv4
_BATCH = 200  # datagrams between two looks at the clock
_EXCESS = 100  # calls for which there is no room: one address gets 200 errors at once


def datagrams() -> Iterator[bytes]:
    """Yield datagrams of each size: noise, requests, what looks like a reply, several lines."""
    for size in SIZES:
        yield b"\xff" * size
        yield b"\n" * size
        yield b"x CALL random 1000 %b\n" % (b"#" * (size - 20)) if size > 20 else b"x PING\n"[:size]
        yield (b"x OK " + b"a" * _LONGEST)[:size]
        yield (b"x CALL echo " + b"a" * _LONGEST)[: max(0, size - 1)] + b"\n" * bool(size)
        yield (b"x PING\n" * (1 + size // 7))[:size]


@contextlib.contextmanager
def _sockets(port: int, addresses: list[str]) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        opened = []
        for address in addresses:
            sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sock.settimeout(0)
            sock.bind((address, 0))
            sock.connect(("127.0.0.1", port))
            opened.append(sock)
        yield opened


def flood(scene: Scene) -> str:
    """Send datagrams of each size as fast as the system takes them."""
    kinds = list(datagrams())
    sent = received = 0
    end = time.monotonic() + scene.seconds
    with _sockets(scene.port, ["127.0.2.1", "127.0.2.2"]) as socks:
        order = itertools.cycle(itertools.product(kinds, socks))
        while time.monotonic() < end:
            for data, sock in itertools.islice(order, _BATCH):
                with contextlib.suppress(BlockingIOError):
                    sock.send(data)
                    sent += 1
            received += sum(map(len, map(_drained, socks)))
    scene.expect(sent > 0, "no datagram was sent")
    lost = datagrams_lost(scene.port)
    return f"{sent:,} of 0 to {_LONGEST:,} bytes: {lost:,} lost in the kernel, {received:,} replies"


def _drained(sock: socket.socket) -> list[bytes]:
    replies = []
    with contextlib.suppress(BlockingIOError):
        while True:
            replies.append(sock.recv(65535))
    return replies


def fill_memory(scene: Scene, addresses: list[str], room: int) -> str:
    """Call what has to be remembered, until there is no room, and then the first ones again."""
    with _sockets(scene.port, addresses) as socks:
        calls: list[list[bytes]] = [[] for _ in socks]
        for number in range(room + _EXCESS):
            calls[number % len(socks)].append(b"r%d CALL count flood\n" % number)
        replies = _answers(socks, calls, scene.seconds)
        first = [some[:1] for some in calls]
        again = _answers(socks, first, scene.seconds)
    executed = [reply.split()[2] for reply in replies.values() if b" OK " in reply]
    refused = sum(b" ERR busy" in reply for reply in replies.values())
    kept = len(executed)
    scene.expect(kept == room, f"{kept} were remembered, not {room}")
    scene.expect(refused == _EXCESS, f"{refused} were refused, not {_EXCESS}")
    scene.expect(
        sorted(map(int, executed)) == list(range(1, kept + 1)), "not each was executed once"
    )
    tags = [call.split()[0] for some in first for call in some]
    same = sum(again.get(tag) == replies.get(tag, b"") for tag in tags)
    scene.expect(same == len(tags), f"{len(tags) - same} repeats did not get the reply again")
    return f"{kept:,} of {len(replies):,} calls remembered, {refused} busy, {same} repeated"


@attrs.define
class _Caller:
    """A socket that makes its calls in turn, each again until it is answered, as ESPS/1 has it."""

    sock: socket.socket
    calls: deque[bytes]
    due: float = 0.0
    wait: float = FIRST_WAIT

    def go_on(self, answers: dict[bytes, bytes]) -> None:
        """Add what has come to the answers by their tags, and send what is due."""
        for reply in _drained(self.sock):
            tag = reply.split()[0]
            answers[tag] = reply
            if self.calls and self.calls[0].startswith(tag + b" "):
                self.calls.popleft()
                self.due, self.wait = 0.0, FIRST_WAIT
        now = time.monotonic()
        if self.calls and self.due <= now:
            with contextlib.suppress(BlockingIOError):
                self.sock.send(self.calls[0])
            self.due, self.wait = now + self.wait, 2 * self.wait


def _answers(
    socks: list[socket.socket], calls: list[list[bytes]], seconds: float
) -> dict[bytes, bytes]:
    """Have each socket make its calls; return the answers by their tags."""
    callers = [_Caller(sock, deque(some)) for sock, some in zip(socks, calls, strict=True)]
    answers: dict[bytes, bytes] = {}
    end = time.monotonic() + PATIENCE + seconds
    while any(caller.calls for caller in callers) and time.monotonic() < end:
        for caller in callers:
            caller.go_on(answers)
    return answers


def over_udp(ask: str = "a PING\n", pause: float = 0.002) -> Callable[[Target], Question]:
    """Return what a polite client asks over UDP."""

    def question(target: Target) -> Question:
        return Question(target.port, ask, "\n", "", transport="udp", pause=pause)

    return question


def _remembering(scale: Scale) -> AbstractContextManager[Target]:
    return serve("--limit", f"max-remembered={_room(scale)}")(scale)


def _room(scale: Scale) -> int:
    # One port may have a sixteenth: enough for a polite client in the time of a short form.
    return max(1024, scale.count(4096))


_FLOOD = "18 sizes up to 65,507 bytes, as noise, as requests, as replies"
_HALF = ["127.0.3.1"] * 64
_ALL = [f"127.0.3.{1 + n % 8}" for n in range(256)]

ATTACKS = (
    Attack(
        "datagrams",
        f"a flood of datagrams, beside a client of UDP: {_FLOOD}",
        against(
            serve(),
            flood,
            # What the kernel has lost is sent again, after 50, 150, 350 and 750 ms.
            Bounds(12, "4 MiB that wait for their turn, and as much again", p99=0.8, maximum=1.6),
            over_udp(),
        ),
    ),
    Attack(
        "datagrams-tcp",
        "the same flood, beside a client of TCP",
        against(serve(), flood, Bounds(12, "4 MiB that wait for their turn, and as much again")),
    ),
    Attack(
        "memory-half",
        "calls that are remembered, from one address, beside such calls of another",
        against(
            _remembering,
            lambda scene: fill_memory(scene, _HALF, _room(scene.scale) // 2),
            Bounds(12, "half of 4,096 entries of 2 KB"),
            # Its own port may have 256 remembered.
            over_udp("{n} CALL count\n", pause=0.1),
        ),
    ),
    Attack(
        "memory-full",
        "calls that are remembered, from 8 addresses, until there is no room at all",
        against(
            _remembering,
            lambda scene: fill_memory(scene, _ALL, _room(scene.scale)),
            Bounds(15, "4,096 entries of 2 KB"),
            over_udp(),
        ),
    ),
)
