"""What the specification requires of a client, as its server sees it."""

from __future__ import annotations

import socket

import pytest
import trio

from esps_portal import ClosedError, EspsError, ReplyError, UnreachableError, connect
from esps_portal.net.tls import TLS_HANDSHAKE
from esps_portal.protocol.retransmission import Retransmission
from tests.client.bare_server import (
    GREETING,
    Ask,
    both_clients,
    datagrams,
    lines_until,
    listener,
    tcp_url,
    udp_url,
)


async def test_each_request_has_a_tag_of_its_own() -> None:  # ESPS-MSG-3
    async with listener() as server, trio.open_nursery() as nursery:

        async def ask_at_once() -> None:
            async with connect(tcp_url(server)) as portal, trio.open_nursery() as calls:
                for _ in range(20):
                    calls.start_soon(portal.call, "work")
                await seen.wait()
                calls.cancel_scope.cancel()

        seen = trio.Event()
        nursery.start_soon(ask_at_once)
        async with await server.accept() as stream:
            await stream.send_all(GREETING)
            calls = [line.split() for line in await lines_until(stream, 20)]
            seen.set()
            *cancels, last = [line.split() for line in await lines_until(stream, 21)]
        assert {verb for _, verb, _ in calls} == {b"CALL"}
        assert sorted(target for _, _, target in cancels) == sorted(tag for tag, _, _ in calls)
        assert last[1] == b"QUIT"
        assert len({request[0] for request in [*calls, *cancels, last]}) == 41


async def test_it_reads_while_it_writes() -> None:  # ESPS-TCP-5
    async with listener() as server, trio.open_nursery() as nursery:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            server.socket.setsockopt(socket.SOL_SOCKET, option, 65536)

        async def ask() -> None:
            async with connect(tcp_url(server)) as portal, trio.open_nursery() as calls:
                for _ in range(1000):
                    calls.start_soon(portal.call, "work", "x" * 8000)

        nursery.start_soon(ask)
        async with await server.accept() as stream:
            # More than the buffers between the two hold, in both directions.
            await stream.send_all(GREETING + b"* ERR busy %b\n" % (b"x" * 8000) * 1200)
            lines = await lines_until(stream, 1000)
            assert {line.split()[1] for line in lines} == {b"CALL"}
            await stream.send_all(b"".join(line.split()[0] + b" OK\n" for line in lines))


@both_clients
@pytest.mark.parametrize(
    "answer", [b"", b"%b OK", b"%b ERR busy\n", b"%b ERR closing\n", b"%b ERR novel\n"]
)
async def test_nothing_is_called_twice(ask: Ask, answer: bytes) -> None:
    """Neither what may have been executed, nor what was refused.

    ESPS-ERR-3, ESPS-ERR-5, ESPS-END-12, ESPS-TCP-13
    """
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            stream = await server.accept()
            await stream.send_all(GREETING)
            (call,) = await lines_until(stream, 1)
            await stream.send_all(answer and answer % call.split()[0])
            await stream.send_eof()
            rest = b""
            while data := await stream.receive_some():
                rest += data
            assert b"CALL" not in rest
            await stream.aclose()

        nursery.start_soon(serve)
        with pytest.raises(ReplyError if b"ERR" in answer else ClosedError) as caught:
            await ask(tcp_url(server))
        if isinstance(caught.value, ReplyError):
            assert caught.value.code.encode() == answer.split()[2]
        with trio.move_on_after(0.02) as nobody_else:
            await server.accept()
        assert nobody_else.cancelled_caught


async def test_no_line_is_longer_than_a_portal_takes() -> None:  # ESPS-LINE-19
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            stream = await server.accept()
            await stream.send_all(GREETING)
            assert await lines_until(stream, 1) == [b"q QUIT"]
            await stream.aclose()

        nursery.start_soon(serve)
        async with connect(tcp_url(server)) as portal:
            with pytest.raises(ValueError, match="longer than 8192"):
                await portal.call("work", "x" * 8192)


@both_clients
async def test_tls_is_never_replaced_by_plain_tcp(ask: Ask) -> None:  # ESPS-URL-2
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve() -> None:
            stream = await server.accept()
            await stream.send_all(GREETING)
            begun = await stream.receive_some(1)
            assert begun.startswith(TLS_HANDSHAKE)
            await stream.aclose()

        nursery.start_soon(serve)
        with pytest.raises(UnreachableError, match="it does not speak TLS; for plain TCP use esps"):
            await ask(tcp_url(server, "esps+tls"))
        with trio.move_on_after(0.02) as nobody:
            await server.accept()
        assert nobody.cancelled_caught


@both_clients
async def test_a_datagram_is_one_request(ask: Ask) -> None:  # ESPS-UDP-1, ESPS-UDP-31
    tags = set()
    async with datagrams() as server:
        for _ in range(8):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, udp_url(server))
                datagram, source = await server.recvfrom(65536)
                tag, rest = datagram[:16], datagram[16:]
                assert rest == b" CALL work x\n"
                tags.add(int(tag, 16))
                await server.sendto(tag + b" OK\n", source)
    assert len(tags) == 8
    # 8 tags of 64 bits: one bit is the same in all of them with a chance of 1 in 2^7, so that 16
    # bits are is next to impossible.
    either, both = 0, 2**64 - 1
    for number in tags:
        either, both = either | number, both & number
    assert either.bit_count() > 48
    assert both.bit_count() < 16


@both_clients
async def test_the_same_datagram_again(ask: Ask) -> None:  # ESPS-UDP-33, ESPS-UDP-40
    async with datagrams() as server, trio.open_nursery() as nursery:
        nursery.start_soon(ask, udp_url(server))
        first, source = await server.recvfrom(65536)
        for _ in range(2):
            assert await server.recvfrom(65536) == (first, source)
        await server.sendto(first[:16] + b" OK\n", source)


@both_clients
async def test_only_the_server_that_was_asked_can_answer(ask: Ask) -> None:  # ESPS-UDP-32
    answers: list[object] = []
    async with datagrams() as server, datagrams() as stranger, trio.open_nursery() as nursery:

        async def keep() -> None:
            answers.append(await ask(udp_url(server)))

        nursery.start_soon(keep)
        first, source = await server.recvfrom(65536)
        await stranger.sendto(first[:16] + b" OK forged\n", source)
        await server.sendto(b"0123456789abcdef OK other\n", source)
        await server.sendto(first[:16] + b" DATA x\nrubbish\n", source)
        await server.sendto(first[:16] + b" OK true\n", source)
    assert answers == [(b"true",)]


@both_clients
async def test_padding_makes_room(ask: Ask) -> None:  # ESPS-UDP-18
    answers: list[object] = []
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def keep() -> None:
            answers.append(await ask(udp_url(server)))

        nursery.start_soon(keep)
        first, source = await server.recvfrom(65536)
        await server.sendto(first[:16] + b" ERR too-large 50 words\n", source)
        while (again := await server.recvfrom(65536)) == (first, source):
            pass  # sent again before the answer came
        assert again == (first[:-1] + b" " + b"#" * (50 - len(first) - 1) + b"\n", source)
        assert len(again[0]) == 50
        await server.sendto(first[:16] + b" OK large\n", source)
    assert answers == [(b"large",)]


@both_clients
async def test_a_tag_in_use_is_an_answer(ask: Ask) -> None:  # ESPS-UDP-32
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def refused() -> None:
            with pytest.raises(EspsError, match="tag-in-use"):
                await ask(udp_url(server))

        nursery.start_soon(refused)
        first, source = await server.recvfrom(65536)
        await server.sendto(b"* ERR tag-in-use " + first[:16] + b"\n", source)


@both_clients
async def test_a_late_answer_to_a_shorter_copy_is_ignored(ask: Ask) -> None:  # ESPS-UDP-49
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def answered() -> None:
            assert await ask(udp_url(server)) == (b"hi",)

        nursery.start_soon(answered)
        await server.recvfrom(65536)
        copy, source = await server.recvfrom(65536)
        for _ in range(2):
            await server.sendto(copy[:16] + b" ERR too-large 300\n", source)
        while len(copy) < 300:  # copies that a timer has sent meanwhile
            copy, _ = await server.recvfrom(65536)
        await server.sendto(copy[:16] + b" OK hi\n", source)


@both_clients
async def test_a_server_that_never_has_room_is_not_asked_indefinitely(
    ask: Ask,
) -> None:  # ESPS-UDP-38
    asked = 0
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def never() -> None:
            nonlocal asked
            while True:
                datagram, source = await server.recvfrom(65536)
                asked += 1
                await server.sendto(datagram[:16] + b" ERR too-large 300 words\n", source)

        nursery.start_soon(never)
        with pytest.raises(ReplyError, match="too-large 300"):
            await ask(udp_url(server))
        nursery.cancel_scope.cancel()
    assert 2 <= asked <= 10  # some because a timer ran out first


@both_clients
async def test_an_urgent_octet_belongs_to_its_line(ask: Ask) -> None:  # ESPS-TCP-25
    replies: list[object] = []

    async def call(url: str) -> None:
        replies.append(await ask(url))

    async with listener() as server, trio.open_nursery() as nursery:
        nursery.start_soon(call, tcp_url(server))
        async with await server.accept() as stream:
            await stream.send_all(GREETING)
            (request,) = await lines_until(stream, 1)
            await stream.send_all(request.partition(b" ")[0] + b" OK h")
            await stream.socket.send(b"e", socket.MSG_OOB)
            await stream.send_all(b"y\n")
            await stream.receive_some()  # QUIT, or the end
    assert replies == [(b"hey",)]


@both_clients
@pytest.mark.parametrize("most", [0, 1])
async def test_a_request_is_padded_as_often_as_it_may_be_sent_again(
    ask: Ask, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # ESPS-UDP-38
    patient = Retransmission(ack_timeout=30.0, max_retransmit=most)
    monkeypatch.setattr(Retransmission, "for_host", lambda _: patient)
    lengths: list[int] = []
    async with datagrams() as server, trio.open_nursery() as nursery:

        async def always_more() -> None:
            while True:
                datagram, source = await server.recvfrom(65536)
                lengths.append(len(datagram))
                needed = len(datagram) + 10
                await server.sendto(b"%b ERR too-large %d\n" % (datagram[:16], needed), source)

        nursery.start_soon(always_more)
        with pytest.raises(ReplyError, match="too-large"):
            await ask(udp_url(server))
        nursery.cancel_scope.cancel()
    assert len(lengths) == 1 + most
