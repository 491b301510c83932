"""Connections to the control port take nothing from the data port, where descriptors are few."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator

import attrs
import pytest

from tests.cli.control_client import ask
from tests.forked import ForkedProcess
from tests.patience import PATIENCE

LIMIT = 256
IDLE = 300
# What the control port may have of them.
MOST = LIMIT // 8


@attrs.frozen
class Server:
    """A portal with a control port, and what a test has connected."""

    data: tuple[str, int]
    url: str
    _open: contextlib.ExitStack

    def connect(self) -> socket.socket:
        return self._open.enter_context(socket.create_connection(self.data, PATIENCE))

    def connect_to_control(self) -> socket.socket:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return self._open.enter_context(socket.create_connection((host, int(port)), PATIENCE))

    def wait(self, count: int) -> socket.socket:
        """Begin to wait for calls."""
        body = json.dumps({"count": count, "timeout": 600})
        peer = self.connect_to_control()
        peer.sendall(
            f"POST /wait HTTP/1.1\r\nHost: {self.url.removeprefix('http://')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return peer

    def calls(self) -> bool:
        """Whether a call over a new connection is answered."""
        with socket.create_connection(self.data, PATIENCE) as peer:
            peer.sendall(b"a CALL echo hi\nq QUIT\n")
            with peer.makefile("rb") as lines:
                return lines.readlines()[1:] == [b"a OK hi\n", b"q OK\n"]

    def answers(self) -> bool:
        """Whether the control port answers over a new connection."""
        return ask(self.url, "GET", "/version")[0] == 200


@pytest.fixture
def server() -> Iterator[Server]:
    options = "serve", "--port", "0", "--control", "--json", "--no-access-log"
    with (
        ForkedProcess(*options, limits=(LIMIT, LIMIT)) as process,
        contextlib.ExitStack() as stack,
    ):
        assert process.stdout is not None
        try:
            ready = json.loads(process.stdout.readline())
            yield Server(tuple(ready["tcp"][0]), ready["control"], stack)
        finally:
            process.kill()


@pytest.mark.parametrize("begun", [b"", b"GET /version HTTP/1.1\r\n"])
def test_many_that_are_idle(server: Server, begun: bytes) -> None:
    for number in range(IDLE):
        peer = server.connect_to_control()
        with contextlib.suppress(OSError):  # it was ended for a later one
            peer.sendall(begun)
        assert number % 50 or server.calls()
    assert server.calls()
    assert server.answers(), "whoever is idle makes room"
    clients = [server.connect() for _ in range(LIMIT // 2)]
    assert all(client.recv(100).startswith(b"* ESPS/1 ") for client in clients)


def test_who_waits_is_not_ended_for_others(server: Server) -> None:
    waiting = server.wait(1)
    for _ in range(IDLE):
        server.connect_to_control()
    assert server.answers()
    assert server.calls()
    assert b'{"reached":true,' in waiting.recv(10_000)


def test_too_many_that_wait(server: Server) -> None:
    waiting = [server.wait(1000) for _ in range(IDLE)]
    assert waiting[MOST].recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    # Those that are refused, and those that were not accepted yet, take nothing from the others.
    assert server.calls()
