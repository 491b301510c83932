"""Calls per second of the clients, compared with what one would write by hand.

``python -m tests.bench.clients NAME PORT SECONDS`` prints calls per second, and per second of its
own processor time. Each is a process on one core; the portal is on the other.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import sys
import time
from collections.abc import Iterator

import trio

from esps_portal import blocking, connect
from tests.bench.aims import Aim, Report, ratio
from tests.bench.machine import LOAD_CORE, child, first_line
from tests.bench.servers import start_portal

AIM = 0.8
TASKS = 64


# ---- by hand -----------------------------------------------------------------------------------


class TrioByHand:
    """One connection that many tasks share: tags, a reader, an event for each call."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()
        self._number = 0
        self._waiting: dict[bytes, trio.Event] = {}
        self._replies: dict[bytes, list[bytes]] = {}

    async def read(self) -> None:
        rest = b""
        async for data in self._stream:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                tag, *words = line.split(b" ")
                if tag in self._waiting:
                    self._replies[tag] = words
                    self._waiting.pop(tag).set()

    async def call(self, service: str, argument: str) -> tuple[bytes, ...]:
        self._number += 1
        tag = b"c%d" % self._number
        event = self._waiting[tag] = trio.Event()
        async with self._sending:
            await self._stream.send_all(b"%b CALL %b %b\n" % (tag, *_encoded(service, argument)))
        await event.wait()
        status, *arguments = self._replies.pop(tag)
        assert status == b"OK"
        return tuple(arguments)


async def call_by_hand(stream: trio.SocketStream, argument: str) -> tuple[bytes, ...]:
    """Send a request and read its reply: what a single task needs."""
    await stream.send_all(b"a CALL echo %b\n" % argument.encode())
    data = b""
    while not data.endswith(b"\n"):
        data += await stream.receive_some()
    _, status, *arguments = data[:-1].split(b" ")
    assert status == b"OK"
    return tuple(arguments)


def _encoded(*words: str) -> tuple[bytes, ...]:
    return tuple(word.encode() for word in words)


# ---- in a process of its own -------------------------------------------------------------------


class Count:
    """Calls until a time is over."""

    def __init__(self, seconds: float) -> None:
        self._began, self._used = time.perf_counter(), time.process_time()
        self._end = self._began + seconds
        self.calls = 0

    def arguments(self) -> Iterator[str]:
        """Yield an argument for each call."""
        while time.perf_counter() < self._end:
            self.calls += 1
            yield f"value-{self.calls}"

    def show(self) -> None:
        elapsed = time.perf_counter() - self._began
        print(self.calls / elapsed, self.calls / (time.process_time() - self._used))


async def trio_sequential(port: int, seconds: float) -> None:
    async with connect(f"127.0.0.1:{port}") as portal:
        count = Count(seconds)
        for argument in count.arguments():
            assert await portal.call("echo", argument) == (argument.encode(),)
    count.show()


async def trio_by_hand_sequential(port: int, seconds: float) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.receive_some()
    count = Count(seconds)
    for argument in count.arguments():
        assert await call_by_hand(stream, argument) == (argument.encode(),)
    count.show()


async def trio_tasks(port: int, seconds: float) -> None:
    async with connect(f"127.0.0.1:{port}") as portal, trio.open_nursery() as nursery:
        count = Count(seconds)

        async def task() -> None:
            for argument in count.arguments():
                assert await portal.call("echo", argument) == (argument.encode(),)

        for _ in range(TASKS):
            nursery.start_soon(task)
    count.show()


async def trio_by_hand_tasks(port: int, seconds: float) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    client = TrioByHand(stream)
    count = Count(seconds)

    async def task() -> None:
        for argument in count.arguments():
            assert await client.call("echo", argument) == (argument.encode(),)

    async with trio.open_nursery() as reading:
        reading.start_soon(client.read)
        async with trio.open_nursery() as nursery:
            for _ in range(TASKS):
                nursery.start_soon(task)
        reading.cancel_scope.cancel()
    count.show()


def blocking_sequential(port: int, seconds: float) -> None:
    with blocking.connect(f"127.0.0.1:{port}") as portal:
        count = Count(seconds)
        for argument in count.arguments():
            assert portal.call("echo", argument) == (argument.encode(),)
    count.show()


def blocking_by_hand_sequential(port: int, seconds: float) -> None:
    """Use a plain socket, with a timeout as the client has one."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.recv(4096)
        count = Count(seconds)
        for argument in count.arguments():
            sock.sendall(b"a CALL echo %b\n" % argument.encode())
            data = b""
            while not data.endswith(b"\n"):
                data += sock.recv(65536)
            _, status, *arguments = data[:-1].split(b" ")
            assert (status, arguments) == (b"OK", [argument.encode()])
    count.show()


ON_TRIO = {
    function.__name__: function
    for function in (
        trio_sequential,
        trio_by_hand_sequential,
        trio_tasks,
        trio_by_hand_tasks,
    )
}
BLOCKING = {
    function.__name__: function for function in (blocking_sequential, blocking_by_hand_sequential)
}

#: What is compared: a client of ours, and one by hand.
PAIRS = {
    "trio client, sequential": ("trio_sequential", "trio_by_hand_sequential"),
    f"trio client, {TASKS} tasks": ("trio_tasks", "trio_by_hand_tasks"),
    "blocking client": ("blocking_sequential", "blocking_by_hand_sequential"),
}


def main(name: str, port: int, seconds: float) -> None:
    """Run one of them."""
    if name in BLOCKING:
        BLOCKING[name](port, seconds)
    else:
        trio.run(ON_TRIO[name], port, seconds)


# ---- what compares them ------------------------------------------------------------------------


def report(seconds: float, repeat: int) -> Report:
    """Measure, and return calls per second."""
    names = [name for pair in PAIRS.values() for name in pair]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    with contextlib.ExitStack() as stack:
        port = start_portal(stack)[0].port
        for _ in range(repeat):
            for name in names:
                command = sys.executable, "-m", __name__, name, port, seconds
                with child(*command, core=LOAD_CORE) as process:
                    wall, cpu = (float(word) for word in first_line(process).split())
                found[name].append((wall, cpu))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    lines = [f"{name:<28}{figures[0] / 1000:8.1f} k calls/s" for name, figures in medians.items()]
    aims = [
        Aim(
            f"{what}, beside one by hand",
            ratio(medians[ours][0], medians[theirs][0]),
            AIM,
            note=f"({medians[ours][1] / medians[theirs][1]:.2f} for the same processor time)",
        )
        for what, (ours, theirs) in PAIRS.items()
    ]
    return Report(lines, aims)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
