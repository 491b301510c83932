"""The servers that are attacked, each in its own words."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import attrs

from tests.bench.machine import child, first_line, free_port

#: What is sent: a name, and the line for each server.
LINES = {
    "LF": {"portal": "\n", "redis": "\n"},
    "@": {"portal": "@\n", "redis": "@\n"},
    # Such a first line ends the connection: the same, sent over new ones.
    "@ first": {"portal": "@\n", "redis": "@\n"},
    "PING": {"portal": "a PING\n", "redis": "PING\r\n"},
    # Of the other server, a reply of about the same size.
    "CALL random 2048": {"portal": "a CALL random 2048\n", "redis": "GET 4096\r\n"},
}

#: What is sent to the control port: no HTTP, a head without an end, requests without one.
CONTROL_LINES = {
    "garbage": "@\n",
    "endless head": "GET /calls HTTP/1.1\r\nX: y\r\n",
    "GET /calls": "GET /calls HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
}


@attrs.frozen
class Victim:
    """A running server.

    Attributes:
        greeting: lines that it sends at first.
        control: the port of its control over HTTP; 0: it has none.
    """

    name: str
    pid: int
    port: int
    greeting: int = 0
    control: int = 0

    def line(self, name: str) -> str:
        """Return a line of `LINES`, as this server takes it; of another name, it as it is."""
        return LINES[name][self.name] if name in LINES else name


@contextlib.contextmanager
def portal(*options: str) -> Iterator[Victim]:
    """Start a portal."""
    command = sys.executable, "-m", "esps_portal", "serve", "--port", "0", "--json"
    with child(*command, "--no-access-log", *options) as process:
        ready = json.loads(first_line(process))
        control = int((ready["control"] or ":0").rpartition(":")[2])
        yield Victim("portal", process.pid, ready["tcp"][0][1], greeting=1, control=control)
        process.kill()  # it may hear nothing else


@contextlib.contextmanager
def redis() -> Iterator[Victim]:
    """Start redis-server, with a value of 4096 bytes."""
    port = free_port()
    options = "--port", port, "--save", "", "--bind", "127.0.0.1"
    # Without a limit the replies that nobody reads fill the machine's memory.
    with child("redis-server", *options, "--maxmemory-clients", "256mb") as process:
        while "Ready to accept" not in first_line(process):
            pass
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"SET 4096 %b\r\n" % (b"x" * 4096))
            client.recv(100)
        yield Victim("redis", process.pid, port)
        process.kill()


def installed() -> dict[str, Callable[[], AbstractContextManager[Victim]]]:
    """Return how to start each server that is on this machine."""
    found: dict[str, Callable[[], AbstractContextManager[Victim]]] = {"portal": portal}
    if shutil.which("redis-server"):
        found["redis"] = redis
    return found
