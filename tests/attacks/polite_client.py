"""A polite client, in a process of its own: ``polite_client.py JSON``.

It asks over one connection, waits for the answer, pauses, and so on; now and then also over a new
connection. It prints "ready" once it is connected, begins when standard input has a line, ends when
that ends, and prints what it saw as JSON. It imports nothing that need not be there.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

NEWCOMER_EVERY = 0.1  # seconds
FIRST_WAIT = 0.05  # seconds until a datagram is sent again: that of ESPS/1 on loopback

REFUSALS = b"* BYE busy", b" ERR busy", b" 503 "


def processor_seconds(pid: int) -> float:
    """Return how long the main thread of a process has run; of one that has ended, 0."""
    try:
        with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:  # noqa: PTH123 - its import takes long
            return int(file.read().split()[0]) / 1e9
    except OSError:
        return 0.0


class RefusedError(Exception):
    """The server has no room for a newcomer, and said so."""


class Client:
    """A connection, or a socket of datagrams, that asks the same again and again."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.ask, self.end = spec["ask"], spec["end"].encode()
        self.number = 0
        self.limit: float = spec["limit"]
        self.is_udp = spec["transport"] == "udp"
        kind = socket.SOCK_DGRAM if self.is_udp else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        try:
            self.socket.settimeout(self.limit)
            self.socket.connect(("127.0.0.1", spec["port"]))
            if spec["transport"] == "tls":
                self.socket = with_tls(self.socket, spec["cafile"])
            if spec["greeting"]:
                self.read_until(spec["greeting"].encode())
        except BaseException:
            self.socket.close()
            raise

    def read_until(self, end: bytes) -> None:
        data = b""
        while not data.endswith(end):
            piece = self.socket.recv(65536)
            data += piece
            if any(word in data for word in REFUSALS):
                raise RefusedError("busy")
            if not piece:
                raise ConnectionError("closed")

    def answer(self) -> None:
        """Ask, and wait for the answer."""
        self.number += 1
        ask = self.ask.replace("{n}", f"{os.getpid()}-{self.number}").encode()
        if not self.is_udp:
            self.socket.sendall(ask)
            self.read_until(self.end)
            return None
        wait, until = FIRST_WAIT, time.monotonic() + self.limit
        while time.monotonic() < until:
            self.socket.send(ask)
            self.socket.settimeout(wait)
            try:
                return self.read_until(self.end)
            except TimeoutError:
                wait = min(2 * wait, 1)
        raise TimeoutError


def with_tls(plain: socket.socket, cafile: str) -> socket.socket:
    import ssl  # noqa: PLC0415 - most need none

    context = ssl.create_default_context(cafile=cafile)
    return context.wrap_socket(plain, server_hostname="localhost")


class Log:
    """What was seen."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self.newcomers: list[float] = [0.0]
        self.work = 0.0
        self.refused = 0
        self.failures: list[str] = []

    def fail(self, who: str, error: Exception) -> None:
        text = f"{who}: {type(error).__name__} {error}".strip()
        if text not in self.failures and len(self.failures) < 5:
            self.failures.append(text)

    def summary(self) -> dict[str, object]:
        took = sorted(self.took) or [0.0]
        return {
            "median": took[len(took) // 2],
            "p99": took[int(len(took) * 0.99)],
            "maximum": took[-1],
            "newcomer": max(self.newcomers),
            "work": self.work,
            "answers": len(self.took),
            "refused": self.refused,
            "failures": self.failures,
        }

    @contextlib.contextmanager
    def worked(self, pid: int) -> Iterator[None]:
        """Note how much the server works while a block runs."""
        before = processor_seconds(pid)
        yield
        self.work = max(self.work, processor_seconds(pid) - before)


def ask_as_newcomer(spec: dict[str, Any], log: Log) -> None:
    began = time.monotonic()
    try:
        client = Client(spec)
        try:
            client.answer()
        finally:
            client.socket.close()
    except RefusedError:
        log.refused += 1
    except OSError as error:
        log.fail("newcomer", error)
    log.newcomers.append(time.monotonic() - began)


def ask_until_told(spec: dict[str, Any], client: Client, log: Log) -> None:
    newcomer_at = time.monotonic()
    while True:
        began = time.monotonic()
        try:
            if spec["is_always_new"]:
                client.socket.close()
                client = Client(spec)
            with log.worked(spec["pid"]):
                client.answer()
        except (OSError, RefusedError) as error:
            log.fail("client", error)
            return
        log.took.append(time.monotonic() - began)
        if time.monotonic() >= newcomer_at:
            ask_as_newcomer(spec, log)
            newcomer_at = time.monotonic() + NEWCOMER_EVERY
        if select.select([0], [], [], spec["pause"])[0]:
            return


def main() -> None:
    """Ask as long as told to, and print what was seen."""
    spec: dict[str, Any] = json.loads(sys.argv[1])
    with contextlib.suppress(OSError):  # if we may: the hostile share its core
        os.nice(-10)
    client, log = Client(spec), Log()
    print("ready", flush=True)
    os.read(0, 1)
    ask_until_told(spec, client, log)
    print(json.dumps(log.summary()), flush=True)


if __name__ == "__main__":
    main()
