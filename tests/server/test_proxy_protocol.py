"""A portal behind a balancer: the client is the one that the PROXY header names."""

from __future__ import annotations

import logging
import socket
import struct

import pytest
import trio
import trio.testing

from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.proxy_header_reader import HEADER_SECONDS
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import Running, running
from tests.processes import running_server

V1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 4000 2867\r\n"
V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c"
    + bytes([192, 0, 2, 1, 192, 0, 2, 9])
    + struct.pack("!HH", 4000, 2867)
)
V2_LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


async def whoami(listening: Running, *pieces: bytes) -> bytes:
    peer = await listening.connect()
    for piece in pieces:
        await peer.send(piece)
        await trio.testing.wait_all_tasks_blocked()
    await peer.send(b"a CALL whoami\nb QUIT\n")
    greeting, answer, end = (await peer.rest()).splitlines()
    assert greeting.startswith(b"* ESPS/1 ")
    assert end == b"b OK"
    return answer


@pytest.mark.parametrize("header", [V1, V2])
async def test_the_client_is_the_one_that_is_announced(header: bytes) -> None:  # ESPS-TCP-17
    portal = ScriptedPortal(builtin_portal("test/1"))
    async with running(portal, proxy_protocol=True) as listening:
        for pieces in ([header], [header[:9], header[9:]], [bytes((byte,)) for byte in header]):
            assert await whoami(listening, *pieces) == b"a OK 192.0.2.1 4000 tcp"
    remotes = {connection.remote for connection in portal.script.journal.connections}
    assert remotes == {("192.0.2.1", 4000)}
    assert {call.remote for call in portal.script.journal.calls} == remotes


@pytest.mark.parametrize("header", [V1_UNKNOWN, V2_LOCAL])
async def test_where_none_is_announced_the_real_one_counts(header: bytes) -> None:  # ESPS-TCP-19
    async with running(proxy_protocol=True) as listening:
        peer = await listening.connect()
        host, port = peer.stream.socket.getsockname()
        await peer.send(header + b"a CALL whoami\n")
        assert (await peer.line()).startswith(b"* ESPS/1 ")
        assert await peer.line() == b"a OK %b %d tcp" % (host.encode(), port)


@pytest.mark.parametrize("data", [b"a PING\n", b"GET / HTTP/1.1\r\n", b"PROXY TCP4 x\r\n"])
async def test_without_a_valid_header_the_connection_ends(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:  # ESPS-TCP-18
    async with running(proxy_protocol=True) as listening:
        for _ in range(2):
            peer = await listening.connect()
            await peer.send(data)
            with pytest.raises(trio.BrokenResourceError):  # RST
                await peer.rest()
        assert await whoami(listening, V1) == b"a OK 192.0.2.1 4000 tcp"
    (record,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert record.getMessage().startswith("a connection was reset: ")


async def test_a_header_that_does_not_come_ends_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:  # ESPS-TCP-18
    async with running(proxy_protocol=True) as listening:
        peer = await listening.connect()
        await peer.send(V1[:-1])
        before = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):  # RST, also where all of it was read
            await peer.rest()
        assert trio.current_time() - before <= HEADER_SECONDS


async def test_a_client_that_leaves_before_its_header_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(proxy_protocol=True) as listening:
        for how in ("fin", "rst"):
            peer = await listening.connect()
            await peer.send(V1[:5])
            if how == "rst":
                linger = struct.pack("ii", 1, 0)
                peer.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            await peer.stream.aclose()
        assert await whoami(listening, V1) == b"a OK 192.0.2.1 4000 tcp"
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


async def test_one_without_a_header_counts_as_a_connection() -> None:  # ESPS-TCP-2
    async with running(proxy_protocol=True, max_connections=1) as listening:
        first = await listening.connect()
        await trio.testing.wait_all_tasks_blocked()
        second = await listening.connect()
        assert await second.line() == b"* BYE busy"
        await first.send(V1)
        assert (await first.line()).startswith(b"* ESPS/1 ")


async def test_a_shutdown_waits_for_no_header() -> None:
    async with running(proxy_protocol=True) as listening:
        peer = await listening.connect()
        await trio.testing.wait_all_tasks_blocked()
        listening.shut_down()
        assert await peer.rest() == b""


async def test_udp_has_no_header() -> None:
    async with running(proxy_protocol=True) as listening:
        assert await listening.udp().ask(b"a PING\n") == b"a OK\n"


async def test_without_the_option_a_header_is_a_bad_first_line() -> None:  # ESPS-TCP-20
    async with running() as listening:
        for header in (V1, V2):
            peer = await listening.tcp()
            await peer.send(header + b"a CALL count\n")
            assert b" ERR bad-line " in await peer.line()
            assert await peer.line() == b""


def test_the_command_has_the_option() -> None:
    with (
        running_server("--proxy-protocol", "--require-hello") as portal,
        socket.create_connection(("127.0.0.1", portal.port), timeout=30) as peer,
        peer.makefile("rb") as lines,
    ):
        peer.sendall(V2 + b"a HELLO ESPS/1\nb CALL whoami\nc QUIT\n")
        assert lines.read().splitlines()[2:] == [b"b OK 192.0.2.1 4000 tcp", b"c OK"]
