"""A suite whose author has every type checked: of fixtures, clients, and what they return."""

from __future__ import annotations

import re
from typing import assert_type

import pytest

import esps_portal as package
from esps_portal import Limits, blocking, connect
from esps_portal.testing import (
    ANY,
    ANY_ARGS,
    FrameStub,
    PeerConnection,
    PeerController,
    PeerFactory,
    PeerOptions,
    PlacedFault,
    PortalAddress,
    PortalController,
    PortalFactory,
    ProxyController,
    ProxyFactory,
    ProxyOptions,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
    ScriptedConversation,
    Stub,
    close,
    expect,
    lines,
    open_peer,
    open_proxy,
    peer_in_thread,
    proxy_in_thread,
    reset,
    send,
    wait,
)


@pytest.fixture(scope="session")
def rates(esps_portal_address: PortalAddress) -> str:
    assert_type(esps_portal_address.stub("rate", ANY).reply("1.1"), Stub)
    return esps_portal_address.url


def test_what_is_placed(esps_portal: PortalController, rates: str) -> None:
    stub = esps_portal.stub("price", "sku-1", b"\xff", ANY, re.compile("x+"), bytes.isdigit)
    assert_type(stub.data("row").delay(0.1).reply("9.99", b"EUR").times(2).optional(), Stub)
    esps_portal.stub("flaky", ANY_ARGS).fail("busy", "later").then_close().optional()
    with esps_portal.fault("latency", seconds=0.1, times=1) as fault:
        assert_type(fault, PlacedFault)
        assert_type(fault.happened, int)
        fault.remove()
    with esps_portal.down():
        pass
    assert_type(esps_portal.port, int)
    assert_type(rates, str)


def test_what_has_happened(esps_portal: PortalController) -> None:
    with blocking.connect(esps_portal.url, timeout=5) as client:
        assert_type(client.call("echo", "hi"), tuple[bytes, ...])
        with client.stream("drip", "2", "0") as rows:
            for row in rows:
                assert_type(row, tuple[bytes, ...])
            assert_type(rows.result, tuple[bytes, ...])
    (call, *_) = esps_portal.wait_for("echo", timeout=5)
    assert_type(call, RecordedCall)
    assert_type(call.remote, tuple[str, int])
    assert_type(esps_portal.connections()[0], RecordedConnection)


async def a_coroutine(esps_portal: PortalController) -> None:
    async with package.connect(esps_portal.udp_url) as client, connect() as other:
        assert_type(await client.call("echo"), tuple[bytes, ...])
        async with other.stream("drip", "3", "0") as rows:
            assert_type([row async for row in rows], list[tuple[bytes, ...]])
    assert_type(await esps_portal.wait_for_async("echo", count=2), list[RecordedCall])


def test_portals_of_its_own(esps_portal_factory: PortalFactory) -> None:
    portal = esps_portal_factory(limits=Limits(max_line=512), udp=False, strict=False)
    assert_type(portal, PortalController)

    @portal.service
    def price(sku: bytes) -> str:
        return sku.decode()

    assert_type(price(b"x"), str)


def test_a_proxy(esps_portal: PortalController, esps_proxy: ProxyFactory) -> None:
    proxy = esps_proxy(f"tcp://127.0.0.1:{esps_portal.port}", framing=lines(), strict=False)
    assert_type(proxy, ProxyController)
    with proxy.fault("reset", match=b"INCR", offset=2, to="server", times=1) as fault:
        assert_type(fault, PlacedFault)
    for match in ("price", b"price", re.compile(rb"price"), bytes.isascii):
        assert_type(proxy.exchanges(match), list[RecordedExchange])
    assert_type(proxy.upstream, str)
    options: ProxyOptions = {"unreachable": "ok", "host": "127.0.0.1"}
    with proxy_in_thread("udp://127.0.0.1:53", **options) as other:
        assert_type(other.connections(), list[RecordedConnection])


async def a_proxy_in_a_coroutine(proxy: ProxyController) -> None:
    (exchange,) = await proxy.wait_for_async(b"price", count=1, timeout=5)
    assert_type(exchange.request, bytes)
    assert_type(exchange.ended, float | None)
    async with open_proxy("tcp://127.0.0.1:6379", reply_framing=None) as other:
        assert_type(other, ProxyController)


def test_a_peer(esps_peer: PeerFactory) -> None:
    options: PeerOptions = {"greeting": ["220 ready", b"x"], "host": "127.0.0.1", "udp": True}
    peer = esps_peer(lines("\r\n"), strict=False, **options)
    assert_type(peer, PeerController)
    stub = peer.stub(re.compile(b"^x")).delay(0.1).reply("a", b"b", echo=(0, 1)).times(2)
    assert_type(stub.raw(b"c").then_close().then_reset().optional(), FrameStub)
    talk = peer.conversation(expect("a"), send("b", b"c"), wait(1), close())
    assert_type(talk.optional(), ScriptedConversation)
    assert_type(peer.conversation(expect(bytes.isdigit), reset()), ScriptedConversation)

    @peer.handler
    def answer(frame: bytes, connection: PeerConnection) -> list[bytes]:
        return [frame, connection.transport.encode()]

    @peer.handler
    async def answer_later(frame: bytes, connection: PeerConnection) -> str | None:
        connection.close()
        return None if connection.state else frame.decode()

    assert_type(answer(b"", PeerConnection(1, ("::1", 1), "tcp")), list[bytes])
    assert_type(peer.exchanges("x"), list[RecordedExchange])
    assert_type(peer.fault("drop").optional(), PlacedFault)
    assert_type(peer.dump(), str)


async def test_other_peers() -> None:
    with peer_in_thread(lines()) as peer:
        peer.verify()
    async with open_peer(lines(), tls=False) as peer:
        assert_type(peer, PeerController)
