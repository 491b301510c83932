"""A proxy over TCP: what each end sees is what the other one did."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

import pytest
import trio
import trio.testing

from esps_portal import Portal
from esps_portal.net.bind import CannotBindError, bind
from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig, refuse_to_loop, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from tests.portals import running
from tests.proxies import a_free_port, fill, proxied, reset, until_reset, upstream

_MIB = 1 << 20


# ---- octets ------------------------------------------------------------------------------------


async def test_calls_of_a_portal_pass() -> None:
    async with running() as portal, proxied(portal.listeners.tcp[0]) as front:
        client = await front.tcp()
        await client.send(b'a CALL echo %FF ""\nb CALL drip 2 0\nc CALL fail x-no why\nq QUIT\n')
        lines = sorted((await client.rest()).splitlines())
        assert lines == [
            b'a OK %FF ""',
            b"b DATA 1",
            b"b DATA 2",
            b"b OK 2",
            b"c ERR x-no why",
            b"q OK",
        ]
        await client.stream.aclose()
        assert await front.closed() == [("portal", "fin")]
        assert [(call.tag, call.state, call.sent) for call in front.calls()] == [
            ("a", "replied", b'a OK %FF ""\n'),
            ("b", "replied", b"b DATA 1\nb DATA 2\nb OK 2\n"),
            ("c", "replied", b"c ERR x-no why\n"),
            ("q", "replied", b"q OK\n"),
        ]
        assert front.calls()[0].args == (b"\xff", b"")


async def test_octets_that_are_no_protocol_pass_as_they_are() -> None:
    garbage = bytes(range(256)) * 300
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, garbage)
            nursery.start_soon(end.send_all, garbage[::-1])
            there, back = b"", b""
            while len(there) < len(garbage):
                there += await end.receive_some()
            while len(back) < len(garbage):
                back += await client.stream.receive_some()
        assert (there, back) == (garbage, garbage[::-1])


# ---- ends --------------------------------------------------------------------------------------


async def test_each_direction_ends_for_itself() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await client.send(b"a PING\n")
        await client.stream.send_eof()
        assert await end.receive_some() == b"a PING\n"
        assert await end.receive_some() == b""
        await end.send_all(b"late\n")
        assert await client.line() == b"late"
        await end.send_all(b"later\n")
        await end.send_eof()
        assert await client.rest() == b"later\n"
        assert await front.closed() == [("client", "fin")]


async def test_the_portal_may_end_first_and_still_listen() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await end.send_eof()
        assert await client.rest() == b""
        await client.send(b"still here")
        assert await end.receive_some() == b"still here"
        await client.stream.send_eof()
        assert await end.receive_some() == b""
        assert await front.closed() == [("portal", "fin")]


@pytest.mark.parametrize("ended", [False, True])
async def test_a_reset_of_the_client_reaches_the_portal(*, ended: bool) -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await client.send(b"a CALL stall\n")
        assert await end.receive_some() == b"a CALL stall\n"
        if ended:
            # Nobody reads the client any more: it has said that there is nothing.
            await client.stream.send_eof()
            assert await end.receive_some() == b""
        reset(client.stream)
        if not ended:
            assert await until_reset(end) == b""
        assert await front.closed() == [("client", "fin" if ended else "rst")]
        with pytest.raises(trio.BrokenResourceError):
            await end.send_all(b"too late")
        assert front.calls()[0].state == "aborted"


async def test_a_reset_of_the_portal_reaches_the_client_behind_what_it_said() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await end.send_all(b"* ESPS/1 x\na DA")
        reset(end)
        assert await until_reset(client.stream) == b"* ESPS/1 x\na DA"
        assert await front.closed() == [("portal", "rst")]


async def test_a_portal_that_vanishes_in_mid_reply() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await client.send(b"a CALL drip 9 9\n")
        await end.receive_some()
        await end.send_all(b"a DATA 1\na DA")
        await end.aclose()
        assert await client.rest() == b"a DATA 1\na DA"
        await client.stream.aclose()
        assert await front.closed() == [("portal", "fin")]
        (call,) = front.calls()
        assert (call.state, call.sent) == ("aborted", b"a DATA 1\n")


async def test_who_writes_to_a_portal_that_has_gone_is_reset() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await end.aclose()
        assert await client.rest() == b""
        await client.send(b"a PING\n")
        assert await front.closed() == [("portal", "fin")]
        with pytest.raises(trio.BrokenResourceError):
            await client.send(b"b PING\n")


# ---- backpressure ------------------------------------------------------------------------------


async def test_a_client_that_reads_slowly_slows_the_portal_down() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        sent = await fill(end)
        assert sent < 64 * _MIB, "somebody keeps it all"
        await end.send_eof()
        assert await client.rest() == b"x" * sent


async def test_the_other_direction_passes_meanwhile() -> None:
    async with upstream() as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await fill(end)
        await client.send(b"a PING\n")
        assert await end.receive_some() == b"a PING\n"


async def test_a_reset_is_seen_though_nobody_reads() -> None:
    """The proxy waits for the portal to read on; the client's RST reaches it all the same."""
    async with upstream(receive_buffer=4096) as portal, proxied(portal.address) as front:
        client = await front.connect()
        end = await portal.accept()
        await fill(client.stream)
        reset(client.stream)
        assert await front.closed() == [("client", "rst")]
        assert await until_reset(end)


# ---- a portal that is not there ----------------------------------------------------------------


async def test_nobody_is_greeted_while_the_portal_is_down(caplog: pytest.LogCaptureFixture) -> None:
    with a_free_port() as address:
        async with proxied(address) as front:
            client = await front.connect()
            assert await until_reset(client.stream) == b""
            assert await front.closed() == [("proxy", "rst")]
            assert caplog.messages == [
                f"cannot reach esps://127.0.0.1:{address[1]}: Connection refused"
            ]


async def test_it_passes_on_again_once_the_portal_is_there() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with proxied(listener.getsockname()) as front:
            assert await until_reset((await front.connect()).stream) == b""
            listener.listen()
            client = await front.connect()
            await trio.lowlevel.wait_readable(listener)
            with listener.accept()[0] as end:
                end.sendall(b"hello\n")
                assert await client.line() == b"hello"


async def test_a_host_that_there_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async with proxied(("nowhere.invalid", 1)) as front:
        client = await front.connect()
        assert await until_reset(client.stream) == b""
        assert caplog.messages[0].startswith("cannot resolve nowhere.invalid so far: ")
        assert caplog.messages[1].startswith("cannot reach esps://nowhere.invalid:1: ")


# ---- its own end -------------------------------------------------------------------------------


async def test_a_drain_lets_running_calls_end() -> None:
    portal = Portal()
    may_end, runs = trio.Event(), trio.Event()

    @portal.service
    async def slow() -> str:
        runs.set()
        await may_end.wait()
        return "done"

    async with running(portal) as behind, proxied(behind.listeners.tcp[0]) as front:
        client = await front.tcp()
        await client.send(b"a CALL slow\n")
        await runs.wait()
        front.listeners.shut_down()
        may_end.set()
        assert await client.line() == b"a OK done"
        assert await client.line() == b""
        await client.stream.aclose()
        await front.ended.wait()
        assert await front.closed() == [("portal", "fin")]
        with pytest.raises(OSError, match="all attempts"):
            await front.connect()


async def test_a_drain_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    async with upstream() as portal, proxied(portal.address, drain=0, linger=0) as front:
        client = await front.connect()
        end = await portal.accept()
        front.listeners.shut_down()
        await front.ended.wait()
        assert await until_reset(client.stream) == b""
        assert await end.receive_some() == b""


async def test_no_more_connections_than_may_be() -> None:
    async with upstream() as portal, proxied(portal.address, max_connections=1) as front:
        await front.connect()
        await portal.accept()
        second = await front.connect()
        assert await second.rest() == b"* BYE busy\n"


# ---- its configuration -------------------------------------------------------------------------


async def test_a_port_that_is_taken() -> None:
    async with upstream() as portal:
        state = ProxyState(Upstream("tcp", "127.0.0.1", 1))
        config = ProxyConfig(state=state, port=portal.address[1])
        with pytest.raises(CannotBindError):
            await serve_proxy(config)


@pytest.mark.parametrize(
    ("host", "upstream_host", "is_own"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("0.0.0.0", "192.0.2.1", False),  # RFC 5737: nobody's
        ("127.0.0.1", "nowhere.invalid", False),
    ],
)
async def test_it_does_not_pass_on_to_itself(
    host: str, upstream_host: str, *, is_own: bool
) -> None:
    sockets = bind([host], 0)
    port = sockets.tcp[0].getsockname()[1]
    try:
        await refuse_to_loop(Upstream("tcp", upstream_host, port + 1), sockets)
        with pytest.raises(OwnUpstreamError) if is_own else contextlib.nullcontext():
            await refuse_to_loop(Upstream("tcp", upstream_host, port), sockets)
    finally:
        sockets.close()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"upstream": Upstream("udp", "h", 1), "udp": False}, "neither TCP nor UDP"),
        ({"upstream": Upstream("esps", "h", 1), "tcp": False, "udp": False}, "neither TCP nor UDP"),
        ({"upstream": Upstream("tcp", "h", 1), "hosts": ()}, "a host"),
    ],
)
def test_what_makes_no_sense(said: dict[str, Any], says: str) -> None:
    state = ProxyState(said.pop("upstream"))
    with pytest.raises(ValueError, match=says):
        ProxyConfig(state=state, **said)
