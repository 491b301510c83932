"""Whatever a server sends, a run ends in time, in bounded memory, and prints nothing of it raw."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.commands import run


@contextlib.contextmanager
def endless_server(data: bytes) -> Iterator[str]:
    """Send the same bytes again and again to every client."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            connection: socket.socket = self.request
            with contextlib.suppress(OSError):
                connection.sendall(b"* ESPS/1 tiny/1\n")
                while True:
                    connection.sendall(data * 1000)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"esps://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "data",
    [b"\x1b[2J", b"a OK\n", b"\n", b"\x00\xff\r\n", b"* BYE idle\n", b"* ESPS/1 x/1\n"],
    ids=["no-lf", "replies", "empty-lines", "binary", "notices", "greetings"],
)
def test_a_server_that_never_stops(data: bytes) -> None:
    only = [part for name in ("tcp-ping", "tcp-quit", "tcp-truncate") for part in ("--only", name)]
    with endless_server(data) as url:
        code, out, err = run("conformance", "-W", "0.3", *only, url)
        assert (code, err) == (1, "")
        assert "\x1b" not in out
        assert len(out) < 20_000
        _, out, _ = run("conformance", "--json", "-W", "0.3", *only, url)
    *found, summary = map(json.loads, out.splitlines())
    assert summary["fail"] == len(found) == 6
    assert len(out) < 100_000


def test_datagrams_of_somebody_else() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        url = f"esps+udp://127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    data, address = server.recvfrom(65536)
                    if data == b"stop":
                        return
                    reply = data.replace(b"PING", b"OK")
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                        (other if b"OK x" in reply else server).sendto(reply, address)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            code, out, _ = run("conformance", "-W", "0.5", "--only", "udp-ping", url)
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", server.getsockname())
            thread.join()
    assert code == 1
    assert "allowed: a datagram from 127.0.0.1 port" in out
