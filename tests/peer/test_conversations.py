"""Conversations, where the order of frames matters, and handlers, with the connection's state."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.socket

from esps_portal.testing import (
    FramingError,
    PeerConnection,
    StubError,
    close,
    datagrams,
    expect,
    fixed,
    lines,
    open_peer,
    raw,
    reset,
    send,
    wait,
)
from tests.patience import PATIENCE, until
from tests.peer.conftest import Peers
from tests.threaded_proxies import FIN, RST


def test_steps_in_order(peers: Peers) -> None:
    peer = peers.start(lines(), greeting="hello")
    talk = peer.conversation(
        expect(re.compile(b"^USER")), send("331"), expect("PASS x"), send("230", "ok"), close()
    )
    client = peers.dial(peer)
    client.send(b"USER me\nPASS x\n")
    assert client.rest() == (b"hello\n331\n230\nok\n", FIN)
    assert talk.is_over
    peer.verify()


def test_it_may_begin_with_what_the_peer_says(peers: Peers) -> None:
    peer = peers.start(lines(), greeting="hello")
    peer.conversation(send("first"), expect("a"), wait(0.05), reset())
    first, second = peers.dial(peer), peers.dial(peer)
    assert first.read(12) == b"hello\nfirst\n"
    assert second.read(6) == b"hello\n"
    begun = time.monotonic()
    first.send(b"a\n")
    assert first.rest() == (b"", RST)
    assert time.monotonic() - begun >= 0.05
    peer.verify()


def test_bytes_as_they_are(peers: Peers) -> None:
    """Half a line, then its rest and another one, and at the end what is not a line."""
    peer = peers.start(lines("\r\n"))
    talk = peer.conversation(
        expect("DATA"),
        raw("35"),
        wait(0.05),
        raw(b"4 go\r\non\r\n"),
        expect("."),
        raw("25"),
        close(),
    )
    client = peers.dial(peer)
    client.send(b"DATA\r\n")
    assert client.read(12) == b"354 go\r\non\r\n"
    client.send(b".\r\n")
    assert client.rest() == (b"25", FIN)
    assert str(talk) == (
        "conversation (expect 'DATA'; raw '35'; wait 0.05 s; raw '4 go\\r\\non\\r\\n'; expect '.';"
        " raw '25'; close)"
    )
    peer.verify()


def test_an_id_is_copied_from_the_request(peers: Peers) -> None:
    """From the one that was expected last, into each frame, over TCP and UDP."""
    steps = (
        expect(re.compile(rb"\Aask .. ")),
        send(b"got -- a", b"and -- b", echo=(4, 6)),
        expect(re.compile(b"bye")),
        *(wait(0.01), raw(b"........END", echo=[(0, 2), (4, 6)])),
    )
    peer = peers.start(fixed(8), udp=True)
    for _ in range(2):
        peer.conversation(*steps)
    stream, client = peers.dial(peer), peers.datagrams(peer)
    stream.send(b"ask 17 x")
    assert stream.read(16) == b"got 17 aand 17 b"
    stream.send(b"no. 8bye")
    assert stream.read(11) == b"no..8b..END"
    client.send(b"ask 18 x")
    assert [client.recv(99), client.recv(99)] == [b"got 18 a", b"and 18 b"]
    client.send(b"no. 9bye")
    assert client.recv(99) == b"no..9b..END"
    peer.verify()


@pytest.mark.parametrize("make", [send, raw])
@pytest.mark.parametrize("echo", [(2, 2), 3, (0, 5)])
def test_an_echo_that_cannot_be(make: Any, echo: Any) -> None:  # noqa: ANN401 - the one or the other
    with pytest.raises(StubError, match=r"echo (must be \(from, to\)|ends at 5)"):
        make(b"four", echo=echo)


@pytest.mark.parametrize("step", [send, raw])
def test_what_cannot_be_sent(step: Any) -> None:  # noqa: ANN401 - the one or the other
    with pytest.raises(TypeError, match="an argument must be str or bytes, got int"):
        step(35)


def test_each_connection_has_its_own(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.conversation(expect("a"), send("a1"), expect("b"), send("a2"))
    peer.conversation(expect("a"), send("b1"), expect("b"), send("b2"))
    first, second = peers.dial(peer), peers.dial(peer)
    first.send(b"a\n")
    assert first.read(3) == b"a1\n"
    second.send(b"a\nb\n")
    assert second.read(6) == b"b1\nb2\n"
    first.send(b"b\n")
    assert first.read(3) == b"a2\n"
    peer.verify()


def test_what_it_does_not_expect_stubs_answer(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("NOOP").reply("ok")
    peer.conversation(expect("a"), send("1"), expect("b"), send("2"))
    client = peers.dial(peer)
    client.send(b"NOOP\na\nNOOP\nb\nNOOP\n")
    assert client.read(13) == b"ok\n1\nok\n2\nok\n"
    peer.verify()


def test_one_that_does_not_come_to_its_end(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.conversation(expect("a"), send("1"), expect("b"), close())
    peer.conversation(expect("never"))
    peer.conversation(expect("never")).optional()
    client = peers.dial(peer)
    client.send(b"a\nbb\n")
    assert client.rest() == (b"1\n", FIN)
    frame, unfinished, unused = peer.problems()
    assert frame.splitlines() == [
        "unexpected frame (tcp #1): bb",
        "    the conversation expects 'b': it goes on after 1 byte, with 'b'",
    ]
    talk = "(expect 'a'; send '1'; expect 'b'; close)"
    assert unfinished == f"unfinished conversation {talk}: 2 of 4 steps done; next: expect 'b'"
    assert unused == "unused conversation (expect 'never'): never begun"


def test_a_frame_that_begins_none(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("QUIT").reply("bye").optional()
    peer.conversation(expect("HELO you"), send("ok"))
    peers.dial(peer).send(b"HELO me\n")
    peer.wait_for("HELO", timeout=PATIENCE)
    frame = peer.problems()[0].splitlines()
    why = "a conversation begins with 'HELO you': byte 5 is 0x6d 'm', not 0x79 'y'"
    assert frame[1].strip() == why


def test_a_frame_after_the_end(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.conversation(expect("a"), send("1"))
    client = peers.dial(peer)
    client.send(b"a\nb\n")
    assert client.rest() == (b"1\n", FIN)
    assert peer.problems()[0].splitlines()[1].strip() == "the conversation is over"


# ---- over UDP ----------------------------------------------------------------------------------


def test_each_client_over_udp_has_its_own(peers: Peers) -> None:
    peer = peers.start(datagrams())
    peer.conversation(expect("a"), send("a1", "and"), expect("b"), raw("a2"))
    peer.conversation(expect("a"), send("b1"), expect("b"), send("b2"), close())
    peer.stub("NOOP").reply("ok")
    first, second = peers.datagrams(peer), peers.datagrams(peer)
    first.send(b"a")
    assert [first.recv(9), first.recv(9)] == [b"a1", b"and"]
    second.send(b"a")
    assert second.recv(9) == b"b1"
    second.send(b"NOOP")
    assert second.recv(9) == b"ok"
    for client, reply in ((second, b"b2"), (first, b"a2")):
        client.send(b"b")
        assert client.recv(9) == reply
    peer.verify()


def test_what_comes_while_it_waits_is_answered_after_that(peers: Peers) -> None:
    """In order, though stubs over UDP wait for no other datagram; those of others do not wait."""
    peer = peers.start(datagrams())
    peer.conversation(expect("a"), wait(0.2), send("1"), expect("b"), send("2"))
    peer.stub("c").reply("3")
    first, second = peers.datagrams(peer), peers.datagrams(peer)
    for datagram in (b"a", b"b", b"c"):
        first.send(datagram)
    second.send(b"c")
    assert second.recv(9) == b"3"
    assert [first.recv(9) for _ in range(3)] == [b"1", b"2", b"3"]
    peer.verify()


async def test_only_some_wait_and_more_are_lost() -> None:
    gate = trio.Event()
    async with open_peer(datagrams()) as peer:
        peer.conversation(expect("a"), send("1"))
        peer.stub("b").reply("2")

        @peer.handler
        async def answer(_frame: bytes, _connection: PeerConnection) -> bytes:
            await gate.wait()
            return b"late"

        client = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            await client.connect((peer.host, peer.port))
            for datagram in (b"a", b"x", *[b"b"] * 100):
                await client.send(datagram)
            await peer.wait_for_async("b", count=100, timeout=20)
            gate.set()
            assert [await client.recv(9) for _ in range(66)] == [b"1", b"late", *[b"2"] * 64]
            await client.send(b"b")
            assert await client.recv(9) == b"2"
        states = [exchange.state for exchange in peer.exchanges("b")]
        assert (states.count("replied"), len(states)) == (65, 101)


def test_an_unfinished_one_over_udp(peers: Peers) -> None:
    peer = peers.start(datagrams())
    peer.conversation(expect("a"), send("1"), expect("b"))
    client = peers.datagrams(peer)
    client.send(b"a")
    assert client.recv(9) == b"1"
    client.send(b"x")
    peer.wait_for("x", timeout=PATIENCE)
    frame, unfinished = peer.problems()
    assert frame.endswith("the conversation expects 'b': byte 0 is 0x78 'x', not 0x62 'b'")
    assert "2 of 3 steps done; next: expect 'b'" in unfinished


@pytest.mark.parametrize("step", [send("hello"), wait(1), close()])
def test_over_udp_the_client_speaks_first(peers: Peers, step: Any) -> None:  # noqa: ANN401 - a step
    with pytest.raises(StubError, match=r"begin with expect\(...\), not (send|wait|close)"):
        peers.start(datagrams()).conversation(step, expect("a"))


# ---- steps that cannot be ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([], StubError, "a conversation needs steps"),
        ([close(), send("x")], StubError, "no step can follow close"),
        (["x"], TypeError, "step 1 of a conversation must be expect"),
        ([send("ab", echo=(0, 1))], StubError, "step 1 echoes a request, and none is expected"),
        ([send("too long")], FramingError, r"a frame has 2 bytes, got 8; raw\(\) sends bytes as"),
    ],
)
def test_steps_that_cannot_be(
    peers: Peers, steps: list[Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        peers.start(fixed(2)).conversation(*steps)


@pytest.mark.parametrize("seconds", [-1, "1", float("inf")])
def test_a_wait_that_cannot_be(seconds: Any) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(StubError, match="wait must be seconds, 0 or more"):
        wait(seconds)


# ---- handlers ----------------------------------------------------------------------------------


def test_a_handler_answers_what_no_stub_does(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("PING").reply("PONG")

    @peer.handler
    def count(frame: bytes, connection: PeerConnection) -> list[str | bytes] | str | None:
        number = connection.state["n"] = connection.state.get("n", 0) + 1
        if frame == b"quiet":
            return None
        if frame == b"bye":
            connection.close()
            return "bye"
        return [f"{connection.transport} {connection.number} {number}", frame]

    first, second = peers.dial(peer), peers.dial(peer)
    first.send(b"PING\na\nquiet\nbye\n")
    assert first.rest() == (b"PONG\ntcp 1 1\na\nbye\n", FIN)
    second.send(b"a\n")
    assert second.read(10) == b"tcp 2 1\na\n"
    peer.verify()


async def test_an_async_handler() -> None:
    async with open_peer(lines()) as peer:

        @peer.handler
        async def answer(frame: bytes, connection: PeerConnection) -> bytes:
            await trio.lowlevel.checkpoint()
            return frame.upper()

        stream = await trio.open_tcp_stream(peer.host, peer.port)
        async with stream:
            await stream.send_all(b"hello\nyou\n")
            seen = b""
            while len(seen) < 10:
                seen += await stream.receive_some()
        assert seen == b"HELLO\nYOU\n"
        await peer.wait_for_async("you", timeout=PATIENCE)
        peer.verify()


def test_an_async_handler_over_udp(peers: Peers) -> None:
    peer = peers.start(datagrams())
    held: list[Callable[[], None]] = []

    @peer.handler
    async def answer(frame: bytes, connection: PeerConnection) -> bytes:
        if frame == b"late":
            released, token = trio.Event(), trio.lowlevel.current_trio_token()
            held.append(lambda: token.run_sync_soon(released.set))
            await released.wait()
        return frame

    client = peers.datagrams(peer)
    client.send(b"late")
    until(lambda: held)
    client.send(b"soon")
    assert client.recv(100) == b"soon"
    held.pop()()
    assert client.recv(100) == b"late"


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_handler_raises_is_a_problem(peers: Peers, *, is_async: bool) -> None:
    peer = peers.start(lines())

    def fail(frame: bytes, connection: PeerConnection) -> None:
        raise LookupError("nothing there")

    async def fail_later(frame: bytes, connection: PeerConnection) -> None:
        raise LookupError("nothing there")

    peer.handler(fail_later if is_async else fail)
    client = peers.dial(peer)
    client.send(b"x\x1b[31m\n")
    assert client.rest() == (b"", RST)
    (problem,) = peer.problems()
    assert problem.startswith("the handler failed for 'x\\x1b[31m' (tcp #1):\n")
    assert problem.endswith("LookupError: nothing there")


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("leave", [sys.exit, pytest.fail, "cancel"], ids=["exit", "fail", "cancel"])
def test_a_handler_ends_nothing_but_its_connection(
    peers: Peers,
    leave: Any,  # noqa: ANN401 - what raises
    *,
    is_async: bool,
) -> None:
    peer = peers.start(lines())
    peer.stub("PING").reply("PONG")

    def fail(frame: bytes, connection: PeerConnection) -> None:
        if leave == "cancel":
            raise asyncio.CancelledError
        leave("now")

    async def fail_later(frame: bytes, connection: PeerConnection) -> None:
        fail(frame, connection)

    peer.handler(fail_later if is_async else fail)
    client = peers.dial(peer)
    client.send(b"x\n")
    assert client.rest() == (b"", RST)
    assert "the handler failed for 'x'" in peer.problems()[0]
    client = peers.dial(peer)
    client.send(b"PING\n")
    assert client.read(5) == b"PONG\n"


@pytest.mark.parametrize("wrong", [3, [b"x", 3], {"a"}])
def test_what_a_handler_cannot_return(peers: Peers, wrong: Any) -> None:  # noqa: ANN401 - wrong
    peer = peers.start(lines())
    peer.handler(lambda _, __: wrong)
    client = peers.dial(peer)
    client.send(b"x\n")
    assert client.rest() == (b"", RST)
    assert "a handler returns bytes" in peer.problems()[0]


def test_no_handler(peers: Peers) -> None:
    with pytest.raises(TypeError, match="a handler must be a function, got 'x'"):
        peers.start(lines()).handler("x")  # type: ignore[type-var]
