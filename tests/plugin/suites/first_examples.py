"""The first examples of how a suite uses a portal and a proxy, with what they test."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from esps_portal import ReplyError, blocking
from esps_portal.testing import PortalController, ProxyFactory

PATIENCE = 30

# ---- what is tested ----------------------------------------------------------------------------


def shop(host: str, port: int) -> None:
    """Ask for a price, and then for something that may be busy."""
    with blocking.connect(f"{host}:{port}", timeout=PATIENCE) as portal:
        assert portal.call("price", "sku-1") == (b"9.99",)
        with pytest.raises(ReplyError):
            portal.call("flaky")
        assert portal.call("flaky") == (b"done",)


class RedisClient:
    """A client that asks again, once, on a new connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    def incr(self, key: str) -> bytes:
        try:
            return self._ask(f"INCR {key}\r\n".encode())
        except ConnectionResetError:
            return self._ask(f"INCR {key}\r\n".encode())

    def _ask(self, command: bytes) -> bytes:
        with socket.create_connection(self._address, PATIENCE) as connection:
            connection.sendall(command)
            return connection.makefile("rb").readline()


# ---- redis -------------------------------------------------------------------------------------


class LikeRedis(socketserver.StreamRequestHandler):
    """Counts, where there is no redis-server."""

    count = 0

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for _ in self.rfile:
                LikeRedis.count += 1
                self.wfile.write(b":%d\r\n" % LikeRedis.count)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port: int = closed.getsockname()[1]
    return port


@contextlib.contextmanager
def real_redis(command: str) -> Iterator[int]:
    """Run a server that keeps nothing; it cannot take a free port by itself."""
    while True:
        port = free_port()
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with subprocess.Popen([command, *options], stdout=subprocess.DEVNULL) as server:
            try:
                if listens(server, port):
                    yield port
                    return
            finally:
                server.kill()


def listens(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server listens; whether it does, and has not ended."""
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return True
    return False


@contextlib.contextmanager
def like_redis() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), LikeRedis) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture
def redis_port() -> Iterator[int]:
    command = shutil.which("redis-server")
    with real_redis(command) if command else like_redis() as port:
        yield port


# ---- the tests ---------------------------------------------------------------------------------


def test_price(esps_portal: PortalController) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99")
    esps_portal.stub("flaky").fail("busy").reply("done")
    shop(esps_portal.host, esps_portal.port)
    esps_portal.wait_for("price", count=1, timeout=1)
    assert [c.args for c in esps_portal.calls("price")] == [(b"sku-1",)]


def test_lost_reply(esps_proxy: ProxyFactory, redis_port: int) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{redis_port}")
    fault = proxy.fault("reset", match=b"INCR", offset=2, times=1)
    assert RedisClient(proxy.host, proxy.port).incr("n") == b":2\r\n"
    assert fault.happened == 1
    assert [found.reply for found in proxy.exchanges(b"INCR")] == [b":1\r\n", b":2\r\n"]
