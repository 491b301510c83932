"""What a peer answers: stubs on frames, however they come, and what each step of a chain sends."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

import pytest
import trio

from esps_portal.testing import (
    Framing,
    FramingError,
    StubError,
    datagrams,
    delimited,
    expect,
    fixed,
    length_prefixed,
    lines,
    matching,
    open_peer,
    until_close,
)
from tests.patience import PATIENCE
from tests.peer.conftest import Peers
from tests.sockets import closed
from tests.threaded_proxies import DELIVERIES, FIN, RST, pieces

FRAMINGS: list[tuple[Framing, bytes, bytes, bytes, bytes]] = [
    # The framing; a request as a stub sees it and as it is sent; the same of a reply.
    (lines("\r\n"), b"PING", b"PING\r\n", b"PONG", b"PONG\r\n"),
    (lines(), b"PING", b"PING\n", b"PONG", b"PONG\n"),
    (delimited(b"\0"), b"ping", b"ping\0", b"pong", b"pong\0"),
    (length_prefixed(2), b"ping", b"\0\4ping", b"pong!", b"\0\5pong!"),
    (length_prefixed(2, order="little"), b"ping", b"\4\0ping", b"pong", b"\4\0pong"),
    (length_prefixed(1, at=1), b"a\2hi", b"a\2hi", b"b\3you", b"b\3you"),
    (fixed(4), b"ping", b"ping", b"pong", b"pong"),
    (matching(b";"), b"ping;", b"ping;", b"pong;", b"pong;"),
]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(("framing", "seen", "sent", "reply", "replied"), FRAMINGS, ids=str)
def test_a_frame_and_its_reply(  # noqa: PLR0917 - a case
    peers: Peers,
    framing: Framing,
    seen: bytes,
    sent: bytes,
    reply: bytes,
    replied: bytes,
    delivery: str,
) -> None:
    peer = peers.start(framing)
    stub = peer.stub(seen).reply(reply)
    client = peers.dial(peer)
    for piece in pieces(sent, delivery):
        client.send(piece)
    assert client.read(len(replied)) == replied
    assert stub.used == 1
    assert peer.exchanges()[0].request == sent
    assert peer.exchanges()[0].reply == replied


def test_until_close(peers: Peers) -> None:
    peer = peers.start(until_close())
    peer.stub("who is it?").reply("nobody")
    client = peers.dial(peer)
    client.send(b"who is ")
    client.send(b"it?")
    client.sock.shutdown(1)
    assert client.rest() == (b"nobody", FIN)
    peer.verify()


def test_what_matches(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("text é").reply("1")
    peer.stub(b"bytes").reply("2")
    peer.stub(re.compile(rb"(?i)^re")).reply("3")
    peer.stub(re.compile("gex$")).reply("4")
    peer.stub(lambda frame: len(frame) == 2).reply("5")
    client = peers.dial(peer)
    client.send("text é\nbytes\nREAD\na gex\nxx\n".encode())
    assert client.read(10) == b"1\n2\n3\n4\n5\n"
    peer.verify()


def test_text_must_equal_the_frame(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("PING").reply("no").optional()
    peer.stub("PING 1").reply("yes")
    client = peers.dial(peer)
    client.send(b"PING 1\n")
    assert client.read(4) == b"yes\n"
    peer.verify()


def test_text_that_was_meant_as_a_pattern_is_named(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("GET .*").reply("no").optional()
    peers.dial(peer).send(b"GET /a\n")
    peer.wait_for_connections(closed=True, timeout=PATIENCE)
    (problem,) = peer.problems()
    assert problem.endswith("'.'; as a regular expression it would match: write re.compile(...)")


def test_an_earlier_stub_that_answers_in_its_place_is_named(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub(re.compile("^P")).reply("1")
    peer.stub("PING").reply("2")
    client = peers.dial(peer)
    for uses in ("1 of 1", "2"):
        client.send(b"PING\n")
        assert client.read(2) == b"1\n"
        (problem,) = peer.problems()
        assert problem.splitlines() == [
            "unused stub: 'PING': never used",
            f"    an earlier stub answers its frame: re:'^P': used {uses} times",
        ]


def test_of_many_unused_stubs_the_first_are_named_and_the_others_counted(peers: Peers) -> None:
    peer = peers.start(lines())
    for number in range(1000):
        peer.stub(f"{number}")
    problems = peer.problems()
    assert len(problems) == 101
    assert problems[-1] == "unused stubs: 900 more"


def test_the_chain(peers: Peers) -> None:
    peer = peers.start(lines())
    stub = peer.stub("n").reply("1").times(2).reply("2", "3").reply().reply("4")
    client = peers.dial(peer)
    client.send(b"n\n" * 6)
    assert client.read(12) == b"1\n1\n2\n3\n4\n4\n"
    assert stub.used == 6
    peer.verify()


def test_the_frames_of_a_reply_come_in_one_segment(peers: Peers) -> None:
    peer = peers.start(length_prefixed(2))
    peer.stub("two").reply("a", "bc")
    client = peers.dial(peer)
    client.send(b"\0\3two")
    assert client.sock.recv(100) == b"\0\1a\0\2bc"


def test_a_delay_holds_up_what_comes_after_it(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("late").delay(0.1).reply("1")
    peer.stub("soon").reply("2")
    client = peers.dial(peer)
    begun = time.monotonic()
    client.send(b"late\nsoon\n")
    # The journal has what has come.
    assert len(peer.wait_for(count=2, timeout=PATIENCE)) == 2
    assert client.read(4) == b"1\n2\n"
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize(("end", "how"), [("then_close", FIN), ("then_reset", RST)])
def test_an_end_after_an_answer(peers: Peers, end: str, how: str) -> None:
    peer = peers.start(lines())
    stub = peer.stub("bye").reply("so long")
    getattr(stub, end)()
    client = peers.dial(peer)
    client.send(b"bye\nnever answered\n")
    assert client.rest() == (b"so long\n", how)
    peer.verify()
    client.close()
    (connection,) = closed(peer)
    assert (connection.closed_by, connection.how) == ("peer", how.lower())


@pytest.mark.parametrize(("end", "how"), [("then_close", FIN), ("then_reset", RST)])
def test_an_end_alone_is_an_answer(peers: Peers, end: str, how: str) -> None:
    peer = peers.start(lines())
    stub = peer.stub("get")
    getattr(stub, end)().reply("value")
    lost, again = peers.dial(peer), peers.dial(peer)
    lost.send(b"get\n")
    assert lost.rest() == (b"", how)
    again.send(b"get\n")
    assert again.read(6) == b"value\n"
    peer.verify()


def test_raw_bytes(peers: Peers) -> None:
    peer = peers.start(length_prefixed(2))
    peer.stub("short").raw(b"\0\x10abc").then_close()
    client = peers.dial(peer)
    client.send(b"\0\5short")
    assert client.rest() == (b"\0\x10abc", FIN)


@pytest.mark.parametrize("greeting", ["220 ready", b"220 ready", ["220-a", b"220 b"]])
def test_a_greeting(peers: Peers, greeting: Any) -> None:  # noqa: ANN401 - text, bytes or several
    peer = peers.start(lines("\r\n"), greeting=greeting)
    frames = greeting if isinstance(greeting, list) else [greeting]
    expected = b"".join((f if isinstance(f, bytes) else f.encode()) + b"\r\n" for f in frames)
    for _ in range(2):
        assert peers.dial(peer).read(len(expected)) == expected
    peer.verify()


def test_a_greeting_until_close(peers: Peers) -> None:
    assert peers.dial(peers.start(until_close(), greeting="noon")).rest() == (b"noon", FIN)


@pytest.mark.parametrize(
    ("echo", "expected"),
    [((0, 2), b"12llo"), ((3, 5), b"hel45"), ([(0, 1), (4, 5)], b"1ell5")],
)
def test_an_echo_copies_bytes_of_the_request(peers: Peers, echo: Any, expected: bytes) -> None:  # noqa: ANN401 - one or several
    peer = peers.start(lines())
    peer.stub(re.compile(b"^12")).reply("hello", echo=echo)
    client = peers.dial(peer)
    client.send(b"12345\n")
    assert client.read(6) == expected + b"\n"


def test_an_echo_of_a_short_request(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("1").reply("hello", echo=(0, 4))
    client = peers.dial(peer)
    client.send(b"1\n")
    assert client.read(6) == b"1ello\n"


@pytest.mark.parametrize(
    ("echo", "message"),
    [
        ((0, 6), "echo ends at 6, and a frame of the reply has 5 bytes"),
        ((2, 2), r"echo must be \(from, to\)"),
        ((-1, 2), r"echo must be \(from, to\)"),
        (2, r"echo must be \(from, to\)"),
        ([(0, 1), "x"], r"echo must be \(from, to\)"),
    ],
)
def test_an_echo_that_cannot_be(peers: Peers, echo: Any, message: str) -> None:  # noqa: ANN401 - wrong
    peer = peers.start(lines())
    stub = peer.stub("x")
    with pytest.raises(StubError, match=message):
        stub.reply("hello", echo=echo)
    # Half a chain answers nothing, and is not missed.
    client = peers.dial(peer)
    client.send(b"x\n")
    assert client.rest() == (b"", FIN)
    assert "it is broken: one of its methods raised" in peer.problems()[0]
    assert len(peer.problems()) == 1


def test_a_reply_that_is_no_frame_is_an_error_at_once(peers: Peers) -> None:
    with pytest.raises(FramingError, match=r"got 3; raw\(\) sends bytes as they are$"):
        peers.start(fixed(2)).stub("ab").reply("abc")
    with pytest.raises(FramingError, match=r"got 65508 bytes$"):
        peers.start(datagrams()).stub("ab").reply(b"a" * 65_508)


@pytest.mark.parametrize(
    ("framing", "frame", "why"),
    [
        (lines("\r\n"), "PING\r\n", r"lines:crlf: a frame must not contain its end b'\r\n', got"),
        (fixed(8), b"PING", "fixed:8: a frame has 8 bytes, got 4"),
        (length_prefixed(2, at=1), b"PING", "length-prefixed:2,at=1: the length field says"),
        (matching(rb"END"), b"PING", "nothing ends the frame b'PING'"),
    ],
    ids=str,
)
def test_what_no_frame_can_equal_is_an_error_at_once(
    peers: Peers, framing: Framing, frame: str | bytes, why: str
) -> None:
    peer = peers.start(framing)
    with pytest.raises(FramingError, match=f"^no frame can equal 'PING.*': .*{re.escape(why)}"):
        peer.stub(frame)
    with pytest.raises(FramingError, match=r"^no frame can equal 'PING"):
        peer.conversation(expect(frame))
    assert not peer.review().problems


def test_a_datagram_may_equal_what_no_frame_of_the_stream_can(peers: Peers) -> None:
    peer = peers.start(lines("\r\n"), udp=True)
    peer.stub("PING\r\n").reply("PONG")
    client = peers.datagrams(peer)
    client.send(b"PING\r\n")
    assert client.recv(100) == b"PONG"


def test_what_a_framing_of_ones_own_can_join_says_nothing_of_requests(peers: Peers) -> None:
    peer = peers.start(OnlyRequests())
    peer.stub("PING").raw(b"PONG")
    client = peers.dial(peer)
    client.send(b"PING;")
    assert client.read(4) == b"PONG"


class OnlyRequests:
    """Splits requests; what is sent is raw."""

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        *frames, rest = buffer.split(b";")
        return frames, rest

    def join(self, frame: bytes) -> bytes:
        raise FramingError(f"no reply: {frame!r}")


def test_a_reply_that_an_echo_breaks_is_a_problem(peers: Peers) -> None:
    peer = peers.start(length_prefixed(1, at=1))
    peer.stub(re.compile(b"^a")).reply(b"b\2hi", echo=(1, 2))
    client = peers.dial(peer)
    client.send(b"a\3you")
    assert client.rest() == (b"", RST)
    (problem,) = peer.problems()
    assert problem.startswith("a reply (tcp #1) is not a frame:\n")
    assert "the length field says that the frame has 5 bytes" in problem


def test_what_a_framing_of_ones_own_raises_is_a_problem(peers: Peers) -> None:
    class Own:
        def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
            return [buffer[:1]] if buffer else [], buffer[1:]

        def join(self, frame: bytes) -> bytes:
            return frame + bytes([1 // (frame != b"\0")])

    peer = peers.start(Own())
    peer.handler(lambda frame, _: frame)
    client = peers.dial(peer)
    client.send(b"a\0")
    assert client.rest() == (b"a\1", RST)
    (problem,) = peer.problems()
    assert problem.startswith("a reply (tcp #1) is not a frame:\n")
    assert problem.endswith("ZeroDivisionError: integer division or modulo by zero")


def test_what_comes_after_the_peers_end_is_no_finding(peers: Peers) -> None:
    """As a client of PostgreSQL says good-bye to a server that has refused it, and has closed."""
    peer = peers.start(lines())
    peer.stub("start").reply("refused").then_close()
    peer.fault("latency", seconds=0.3)
    client = peers.dial(peer)
    client.send(b"start\n")
    peer.wait_for("start", timeout=PATIENCE)
    client.send(b"bye")
    client.sock.shutdown(socket.SHUT_WR)
    assert client.rest() == (b"refused\n", FIN)
    peer.verify()


@pytest.mark.parametrize("wrong", [None, 3, ["x"]])
def test_what_no_frame_can_match(peers: Peers, wrong: Any) -> None:  # noqa: ANN401 - wrong
    with pytest.raises(TypeError, match="a frame is matched by str, bytes, a compiled"):
        peers.start(lines()).stub(wrong)


def test_an_async_predicate_is_none(peers: Peers) -> None:
    async def predicate(frame: bytes) -> bool:
        return True

    with pytest.raises(TypeError, match="a predicate must be a sync function"):
        peers.start(lines()).stub(predicate)


def test_both_transports_on_one_number(peers: Peers) -> None:
    """As DNS: over TCP a length comes before each message, and over UDP it is the datagram."""
    peer = peers.start(length_prefixed(2), udp=True)
    peer.stub("query").reply("reply")
    stream, datagram = peers.dial(peer), peers.datagrams(peer)
    datagram.send(b"query")
    stream.send(b"\0\5query")
    assert datagram.recv(100) == b"reply"
    assert stream.read(7) == b"\0\5reply"
    assert sorted(exchange.transport for exchange in peer.exchanges()) == ["tcp", "udp"]


def test_over_udp_alone(peers: Peers) -> None:
    peer = peers.start(datagrams())
    peer.stub(b"").reply(b"empty", b"two")
    peer.stub("late").delay(0.05).reply("1").then_close()
    peer.stub("soon").reply("2")
    client = peers.datagrams(peer)
    for datagram in (b"", b"late", b"soon"):
        client.send(datagram)
    assert [client.recv(100) for _ in range(4)] == [b"empty", b"two", b"2", b"1"]
    peer.verify()
    with pytest.raises(FramingError, match="a greeting is for connections"):
        peers.start(datagrams(), greeting="hello")


def test_a_reply_that_no_datagram_can_be_is_an_error_and_is_not_lost(peers: Peers) -> None:
    peer = peers.start(lines(), udp=True)
    with pytest.raises(FramingError, match="at most 65507 bytes, got 65508 bytes"):
        peer.stub("a").reply(bytes(65508))
    peer.reset()
    peer.stub("late").reply("1")
    peer.handler(lambda _frame, _connection: bytes(65508))
    client = peers.datagrams(peer)
    client.send(b"a")
    client.send(b"late")
    assert client.recv(100) == b"1"
    with pytest.raises(AssertionError, match="a datagram has at most 65507 bytes, got 65508 bytes"):
        peer.verify()


def test_an_empty_datagram_is_a_reply(peers: Peers) -> None:
    peer = peers.start(datagrams())
    peer.stub("a").reply(b"")
    peer.stub(b"").reply()
    client = peers.datagrams(peer)
    client.send(b"a")
    assert client.recv(100) == b""
    client.send(b"")
    answered, unanswered = peer.wait_for(count=2, timeout=PATIENCE)
    assert (answered.state, answered.complete, answered.reply_size) == ("replied", True, 0)
    assert (unanswered.state, unanswered.complete) == ("aborted", False)
    happened = [line.split(maxsplit=3)[3] for line in peer.transcript().splitlines()]
    assert happened == ["--> a", "<-- (empty)", "--> (empty)", "no reply"]


def test_frames_that_wait_for_their_answers_are_bounded(peers: Peers) -> None:
    """A client that sends on while an answer takes its time is read no more at some point."""
    peer = peers.start(lines())
    peer.stub("first").delay(30).reply("late")
    peer.stub(re.compile(b"^x")).reply("y").optional()
    client = peers.dial(peer)
    client.send(b"first\n")
    line = b"x" * 1000 + b"\n"
    client.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.sock.sendall(line * 65536)
    waiting = sum(len(exchange.request) for exchange in peer.exchanges())
    assert waiting < 1 << 20
    client.reset()
    assert closed(peer)[0].closed_by == "client"


async def test_thousands_of_frames_hold_up_nobody() -> None:
    """Each turn of the loop is short, whatever one client has sent at once."""
    answered = 0
    async with open_peer(lines()) as peer:
        peer.stub("").reply().optional()
        peer.stub("x").reply("y")
        peer.stub("ping").reply("pong")
        flood = await trio.open_tcp_stream(peer.host, peer.port)
        other = await trio.open_tcp_stream(peer.host, peer.port)

        async def ask_again_and_again() -> None:
            nonlocal answered
            while True:
                await other.send_all(b"ping\n")
                assert await other.receive_some(5) == b"pong\n"
                answered += 1

        async with flood, other, trio.open_nursery() as nursery:
            await flood.send_all(b"\n" * 20_000 + b"x\n")
            nursery.start_soon(ask_again_and_again)
            assert await flood.receive_some(2) == b"y\n"
            nursery.cancel_scope.cancel()
    # The flood takes some 80 turns, and an answer to the other one a few of them: 98 here.
    assert answered > 10


@pytest.mark.parametrize("last", ["FIN", "more requests", "nothing"])
def test_a_client_that_reads_nothing_is_noticed_when_it_resets(peers: Peers, last: str) -> None:
    """Its replies wait, then its requests; whatever else it has done, a RST ends that."""
    peer = peers.start(lines())
    peer.stub("big").raw(b"x" * 8_000_000)
    client = peers.dial(peer)
    client.send(b"big\n" * 4)
    peer.wait_for(count=4, timeout=PATIENCE)
    if last == "FIN":
        client.sock.shutdown(socket.SHUT_WR)
    elif last == "more requests":
        client.sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            client.sock.sendall(b"big\n" * 8_000_000)
    peer.problems()
    assert peer.connections()[0].closed is None
    client.reset()
    assert closed(peer)[0].closed_by == "client"
