"""Attacks by datagrams: of every size, and of calls that have to be remembered."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator

from tests.attacks.attack import Attack, Bounds
from tests.attacks.measure import Scene, against, serve
from tests.attacks.polite import Question
from tests.attacks.targets import Target

SIZES = (0, 1, 2, 7, 8, 63, 64, 65, 511, 512, 1199, 1200, 1201, 1472, 8192, 8193, 32768, 65507)
_LONGEST = 65507  # bytes: what UDP carries over IPv4
_BATCH = 200  # datagrams between two looks at the clock


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
    return f"{sent:,} of 0 to {_LONGEST:,} bytes sent, {received:,} replies"


def _drained(sock: socket.socket) -> list[bytes]:
    replies = []
    with contextlib.suppress(BlockingIOError):
        while True:
            replies.append(sock.recv(65535))
    return replies


def fill_memory(scene: Scene, addresses: list[str], limit: int) -> str:
    """Call what has to be remembered, each time with a new tag, until nothing more is."""
    count = scene.scale.count(20_000)
    sent, replies = 0, list[bytes]()
    end = time.monotonic() + scene.seconds
    with _sockets(scene.port, addresses) as socks:
        for sock in itertools.cycle(socks):
            if sent >= count or time.monotonic() > end:
                break
            with contextlib.suppress(BlockingIOError):
                sock.send(b"r%d CALL count\n" % sent)
                sent += 1
            replies += _drained(sock)
        while not replies and time.monotonic() < end + 10:
            replies += [reply for sock in socks for reply in _drained(sock)]
    refused = sum(b" ERR busy" in reply for reply in replies)
    kept = sum(b" OK " in reply for reply in replies)
    scene.expect(0 < kept <= limit, f"{kept} were remembered, not 1 to {limit}")
    scene.expect(refused > 0 or sent <= limit, "none was refused")
    return f"{sent:,} calls from {len(addresses)} sockets: {kept:,} answered, {refused:,} busy"


def over_udp(ask: str = "a PING\n", pause: float = 0.002) -> Callable[[Target], Question]:
    """Return what a polite client asks over UDP."""

    def question(target: Target) -> Question:
        return Question(target.port, ask, "\n", "", transport="udp", pause=pause)

    return question


_FLOOD = "18 sizes up to 65,507 bytes, as noise, as requests, as replies"
_HALF = ["127.0.3.1"] * 64
_ALL = [f"127.0.3.{1 + n % 8}" for n in range(256)]

ATTACKS = (
    Attack(
        "datagrams",
        f"a flood of datagrams, beside a client of UDP: {_FLOOD}",
        against(serve(), flood, Bounds(30, "what is too long is not kept"), over_udp()),
    ),
    Attack(
        "datagrams-tcp",
        "the same flood, beside a client of TCP",
        against(serve(), flood, Bounds(30, "what is too long is not kept")),
    ),
    Attack(
        "memory-half",
        "calls that are remembered, from one address, beside such calls of another",
        against(
            serve(),
            lambda scene: fill_memory(scene, _HALF, 2048),
            Bounds(30, "half of 4,096 entries of at most 1,200 bytes and a request"),
            # Its own port may have 256 remembered.
            over_udp("{n} CALL count\n", pause=0.1),
        ),
    ),
    Attack(
        "memory-full",
        "calls that are remembered, from 8 addresses, until there is no room at all",
        against(
            serve(),
            lambda scene: fill_memory(scene, _ALL, 4096),
            Bounds(30, "4,096 entries of at most 1,200 bytes and a request"),
            over_udp(),
        ),
    ),
)
