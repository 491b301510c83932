"""A suite of an application that is started once for all tests: each stubs what it asks.

The application has a pool of connections to the portal. Each line that it is sent is a call to be
made; it replies with the portal's line, without the tag. One has a thread for each client, the
other runs on asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from esps_portal.testing import ANY, PortalAddress, PortalController

TAGS = itertools.count(1)


class Pool:
    """Connections to the portal that are kept open, as a driver of a database keeps them."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.idle: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()

    def call(self, request: str) -> str:
        try:
            connection = self.idle.get_nowait()
        except queue.Empty:
            connection = socket.create_connection(self.address, 30)
            read_line(connection)  # the greeting
        connection.sendall(f"{next(TAGS)} CALL {request}\n".encode())
        reply = read_line(connection)
        self.idle.put(connection)
        return reply.partition(" ")[2]

    def close(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.idle.get_nowait().close()


def read_line(connection: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n"):
        data = connection.recv(1)
        if not data:
            raise EOFError
        line += data
    return line.decode().rstrip("\n")


class Shop:
    """How a test, or anybody, asks the application."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address

    def ask(self, request: str) -> str:
        with socket.create_connection(self.address, 30) as client:
            client.sendall(f"{request}\n".encode())
            return read_line(client)


@contextlib.contextmanager
def threaded_shop(portal: tuple[str, int]) -> Iterator[Shop]:
    pool = Pool(portal)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                self.wfile.write(pool.call(line.decode().strip()).encode() + b"\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Shop(("127.0.0.1", server.server_address[1]))
        server.shutdown()
        thread.join()
    pool.close()


@contextlib.contextmanager
def asyncio_shop(portal: tuple[str, int]) -> Iterator[Shop]:
    ready: queue.SimpleQueue[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]]
    ready = queue.SimpleQueue()
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            connection = idle.pop() if idle else await asyncio.open_connection(*portal)
            if connection[1] not in known:
                known.append(connection[1])
                await connection[0].readline()  # the greeting
            connection[1].write(b"%d CALL %b" % (next(TAGS), line))
            reply = await connection[0].readline()
            idle.append(connection)
            writer.write(reply.partition(b" ")[2])
        writer.close()

    known: list[asyncio.StreamWriter] = []

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        over = asyncio.Event()
        ready.put((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), over))
        await over.wait()
        server.close()
        for writer in known:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    port, loop, over = ready.get()
    yield Shop(("127.0.0.1", port))
    loop.call_soon_threadsafe(over.set)
    thread.join()


SHOPS = {"threads": threaded_shop, "asyncio": asyncio_shop}


@pytest.fixture(scope="session", params=SHOPS)
def shop(request: pytest.FixtureRequest, esps_portal_address: PortalAddress) -> Iterator[Shop]:
    address = esps_portal_address.host, esps_portal_address.port
    with SHOPS[request.param](address) as shop:
        assert shop.ask("rate EUR").startswith("OK ")  # whether or not a test has the portal yet
        yield shop


@pytest.fixture(scope="session", autouse=True)
def _rates(esps_portal_address: PortalAddress) -> None:
    esps_portal_address.stub("rate", ANY).reply("1").reply("2")
    esps_portal_address.stub("never-asked").reply()


def test_the_address(esps_portal: PortalController, esps_portal_address: PortalAddress) -> None:
    address = esps_portal_address
    assert (address.host, address.port) == (esps_portal.host, esps_portal.port)
    assert (address.url, address.udp_url) == (esps_portal.url, esps_portal.udp_url)
    assert repr(address) == f"<PortalAddress {address.url}>"


@pytest.mark.parametrize("number", range(5))
def test_a_stub_for_each_test(shop: Shop, esps_portal: PortalController, number: int) -> None:
    esps_portal.stub("price", "sku-1").reply(str(number))
    assert shop.ask("price sku-1") == f"OK {number}"
    (connection,) = esps_portal.connections()
    assert (connection.number, connection.requests, connection.is_kept) == (1, 1, True)
    assert connection.opened < 0
    (call,) = esps_portal.calls()
    assert (call.service, call.connection) == ("price", 1)
    assert "tcp #1               open since before, by 127.0.0.1:" in esps_portal.transcript()


@pytest.mark.parametrize("number", range(2))
def test_a_permanent_stub_begins_anew(
    shop: Shop, esps_portal: PortalController, number: int
) -> None:
    assert [shop.ask("rate EUR") for _ in range(3)] == ["OK 1", "OK 2", "OK 2"]
    esps_portal.reset()
    assert shop.ask("rate EUR") == "OK 1"
    assert "stubs" not in esps_portal.dump()


def test_a_stub_of_the_test_comes_first(shop: Shop, esps_portal: PortalController) -> None:
    esps_portal.stub("rate", "EUR").fail("busy").times(1)
    assert [shop.ask("rate EUR") for _ in range(2)] == ["ERR busy", "OK 1"]


@pytest.mark.parametrize("number", range(2))
def test_faults_count_connections_anew(
    shop: Shop, esps_portal: PortalController, number: int
) -> None:
    with esps_portal.fault("slice", connection=1, request=2) as fault:
        assert shop.ask("rate EUR") == "OK 1"
        assert fault.happened == 0
        assert shop.ask("rate EUR") == "OK 2"
        assert fault.happened == 1


# ---- nobody's calls ----------------------------------------------------------------------------


def test_without_the_portal(shop: Shop) -> None:
    assert shop.ask("rate EUR").startswith("OK ")
    assert shop.ask("pirce sku-1").startswith("ERR unknown-service")
    assert shop.ask("echo hi") == "OK hi"


def test_is_not_charged_with_them(shop: Shop, esps_portal: PortalController) -> None:
    assert (esps_portal.calls(), esps_portal.problems()) == ([], [])
    assert shop.ask("rate EUR") == "OK 1"
