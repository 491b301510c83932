"""How connections end, and what one peer can do to another: nothing."""

from __future__ import annotations

import contextlib
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import trio

from esps_portal import Limits, Portal, RefusedError, ServerConfig, serve
from esps_portal.portal.offer import bundled_portal
from esps_portal.server.binding import CannotBindError
from esps_portal.server.serving import Listening
from tests.processes import served


class Client:
    """A raw peer that reads lines."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._held = b""

    async def line(self) -> bytes:
        """Return the next line; ``b""`` is the end."""
        while b"\n" not in self._held:
            data = await self.stream.receive_some(65536)
            if not data:
                assert not self._held
                return b""
            self._held += data
        line, _, self._held = self._held.partition(b"\n")
        return line

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)


class Running:
    """A running portal, and the clients that a test connected to it."""

    def __init__(self, listening: Listening) -> None:
        self.shut_down = listening.shut_down
        self.address = listening.tcp[0]
        self._clients: list[Client] = []

    async def connect(self) -> Client:
        """Connect, and leave the greeting unread."""
        client = Client(await trio.open_tcp_stream(*self.address))
        self._clients.append(client)
        return client

    async def client(self) -> Client:
        """Connect, and read the greeting."""
        client = await self.connect()
        assert (await client.line()).startswith(b"* ESPS/1 ")
        return client

    async def aclose(self) -> None:
        for client in self._clients:
            await trio.aclose_forcefully(client.stream)


@contextlib.asynccontextmanager
async def portal_with(portal: Portal | None = None, **limits: float) -> AsyncIterator[Running]:
    """A running portal with limits of its own; cancelled at the end."""
    portal = portal or bundled_portal("test/1", Limits(**limits))  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        running = Running(await nursery.start(serve, ServerConfig(portal=portal, port=0)))
        try:
            with trio.fail_after(30):
                yield running
        finally:
            await running.aclose()
        nursery.cancel_scope.cancel()


async def test_idle() -> None:  # ESPS-END-8
    async with portal_with(idle=0.05) as listening:
        client = await listening.client()
        assert await client.line() == b"* BYE idle"
        assert await client.line() == b""


async def test_a_running_call_is_not_idle() -> None:  # ESPS-END-8
    async with portal_with(idle=0.05) as listening:
        client = await listening.client()
        await client.send(b"a CALL delay 200 x\n")
        assert await client.line() == b"a OK x"
        assert await client.line() == b"* BYE idle"


async def test_half_a_line_is_idle() -> None:
    async with portal_with(idle=0.05) as listening:
        client = await listening.client()
        await client.send(b"a PI")
        assert await client.line() == b"* BYE idle"


async def test_fin_lets_running_calls_end() -> None:  # ESPS-END-3, ESPS-END-4
    async with portal_with() as listening:
        client = await listening.client()
        await client.send(b"a CALL delay 50 x\nb CALL count never")
        await client.stream.send_eof()
        assert await client.line() == b"a OK x"
        assert await client.line() == b""
        other = await listening.client()
        await other.send(b"c CALL count never\n")
        assert await other.line() == b"c OK 1"


async def test_the_drain_is_bounded() -> None:  # ESPS-END-7
    async with portal_with(drain=0.05) as listening:
        client = await listening.client()
        await client.send(b"a CALL stall\nb QUIT\n")
        assert (await client.line()).startswith(b"a ERR closing")
        assert await client.line() == b"b OK"
        assert await client.line() == b""


async def test_shutdown() -> None:  # ESPS-END-5, ESPS-END-6
    async with portal_with() as listening:
        client = await listening.client()
        await client.send(b"a CALL delay 100 x\nb PING\n")
        assert await client.line() == b"b OK"
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        await client.send(b"c CALL count x\n")
        assert (await client.line()).startswith(b"c ERR closing")
        assert await client.line() == b"a OK x"
        assert await client.line() == b""


async def test_busy_call() -> None:  # ESPS-TCP-12, ESPS-VERB-20
    async with portal_with(max_in_flight=2) as listening:
        client = await listening.client()
        await client.send(b"a CALL stall\nb CALL stall\nc CALL stall\nd CALL echo x\n")
        assert (await client.line()).startswith(b"c ERR busy")
        assert await client.line() == b"d OK x"


async def test_busy_portal() -> None:  # ESPS-TCP-2
    async with portal_with(max_connections=1, linger=0.05) as listening:
        first = await listening.client()
        second = await listening.connect()
        assert await second.line() == b"* BYE busy"
        assert await second.line() == b""
        await first.send(b"a QUIT\n")
        assert await first.line() == b"a OK"
        assert await first.line() == b""


async def test_a_peer_that_never_reads() -> None:  # ESPS-TCP-14, ESPS-TCP-15, ESPS-TCP-16
    async with portal_with(stall=0.3, idle=60) as listening:
        deaf = await listening.client()
        before = psutil.Process().memory_info().rss
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await deaf.send(b"a CALL random 2000\n" * 1000)
        assert psutil.Process().memory_info().rss - before < 50_000_000
        other = await listening.client()
        await other.send(b"a PING\n")
        assert await other.line() == b"a OK"


async def test_rst_cancels_the_calls_and_harms_nobody() -> None:  # ESPS-END-11
    portal = bundled_portal("test/1")
    ended = trio.Event()

    @portal.service
    async def forever(*, call: object) -> None:
        try:
            while True:
                await call.data("x" * 1000)  # type: ignore[attr-defined]
        finally:
            ended.set()

    async with portal_with(portal) as listening:
        other = await listening.client()
        client = await listening.client()
        await client.send(b"a CALL forever\n")
        assert await client.line()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await ended.wait()
        await other.send(b"a PING\n")
        assert await other.line() == b"a OK"


async def test_a_silent_call_ends_with_its_peer() -> None:  # ESPS-END-11
    portal = bundled_portal("test/1")
    ended = trio.Event()

    @portal.service
    async def forever() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with portal_with(portal) as listening:
        client = await listening.client()
        await client.send(b"a CALL forever\nb PING\n")
        assert await client.line() == b"b OK"
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.stream.aclose()
        await ended.wait()


async def test_services_of_a_user() -> None:  # ESPS-VERB-15, ESPS-VERB-16, ESPS-VERB-17
    portal = Portal(product="test/1")

    @portal.service
    def boom() -> None:
        raise KeyError("/secret/path")

    @portal.service
    def refuse(code: bytes) -> None:
        raise RefusedError(code.decode(), "because")

    @portal.service
    def long() -> bytes:
        return b"\xff" * 3000

    @portal.service
    async def long_row(*, call: object) -> None:
        await call.data(b"\xff" * 3000)  # type: ignore[attr-defined]

    @portal.service
    def odd() -> object:
        return 1

    async with portal_with(portal) as listening:
        client = await listening.client()
        for name in (b"boom", b"long", b"long-row", b"odd"):
            await client.send(b"a CALL %b\n" % name)
            answer = await client.line()
            assert answer.startswith(b"a ERR failed ")
            assert b"secret" not in answer
        await client.send(b"a CALL refuse x-no\na PING\n")
        assert await client.line() == b"a ERR x-no because"
        assert await client.line() == b"a OK"


async def test_a_taken_port_is_said_at_once() -> None:
    async with portal_with() as listening:
        port = listening.address[1]
        with pytest.RaisesGroup(CannotBindError):
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, ServerConfig(port=port))


async def test_cancelled_it_leaves_no_socket() -> None:
    process = psutil.Process()
    before = process.num_fds()
    async with portal_with() as listening:
        client = await listening.client()
        await client.send(b"a CALL stall\n")
    assert process.num_fds() == before


def test_out_of_descriptors() -> None:
    """It says so, and goes on once there are some again."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "sys.argv = ['esps-portal', 'serve', '--port', '0', '--json'];"
        "from esps_portal.cli import main; main()"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 100
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            port = int(process.stdout.readline().split(b'"127.0.0.1", ')[1].split(b"]")[0])
            with contextlib.ExitStack() as stack:
                for _ in range(60):
                    stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
                assert b"Too many open files" in process.stderr.readline()
            with socket.create_connection(("127.0.0.1", port), 30) as peer:
                assert peer.recv(100).startswith(b"* ESPS/1 ")
        finally:
            process.terminate()


def test_ipv4_and_ipv6_on_one_number() -> None:
    with served("--host", "localhost", "--host", "127.0.0.1", "--host", "::1") as running:
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, running.port), 30) as peer:
                assert peer.recv(100).startswith(b"* ESPS/1 ")


def test_a_reply_leaves_from_the_address_that_was_asked() -> None:  # ESPS-UDP-10
    with (
        served("--host", "0.0.0.0", "--host", "::") as running,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer6,
    ):
        peer.settimeout(30)
        peer.sendto(b"a PING\n", ("127.0.0.2", running.port))
        assert peer.recvfrom(100) == (b"a OK\n", ("127.0.0.2", running.port))
        peer6.settimeout(30)
        peer6.sendto(b"a PING\n", ("::1", running.port))
        assert peer6.recvfrom(100)[1][:2] == ("::1", running.port)
