"""The client's side: which request an answer belongs to."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.client_connection import ClientConnection, PendingRequest
from esps_portal.protocol.errors import (
    ClosedError,
    PeerError,
    ProtocolError,
    ReplyError,
    SlowConsumerError,
)
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import DATA, OK, Reply, Request, parse_request_untrusted
from tests.protocol.strategies import args, cut, noise, notices, places, quickly, replies

GREETING = b"* ESPS/1 esps-portal/0.1.0\n"


def numbers() -> Callable[[], bytes]:
    """Return tags as a TCP client makes them."""
    numbered = count(1)
    return lambda: b"%d" % next(numbered)


def greeted() -> ClientConnection:
    requester = ClientConnection(numbers())
    requester.receive_stream_untrusted(GREETING)
    return requester


# -- asking


@quickly
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9) | st.binary(max_size=9)))
def test_a_request_carries_its_arguments(given_args: list[str | bytes]) -> None:
    pending = greeted().ask(b"CALL", given_args)
    request = parse_request_untrusted(pending.request.encode()[:-1])
    assert (request.tag, request.verb) == (b"1", b"CALL")
    assert list(request.args) == [a.encode() if isinstance(a, str) else a for a in given_args]
    assert not pending.has_news


def test_each_request_has_a_tag_of_its_own() -> None:
    requester = greeted()
    tags = [requester.ask(b"PING", ()).request.tag for _ in range(3)]
    line = requester.cancellation(requester.ask(b"CALL", ("delay",)))
    assert tags == [b"1", b"2", b"3"]
    assert line == b"5 CANCEL 4\n"


@pytest.mark.parametrize("wrong", [1, None, bytearray(b"x")])
def test_an_argument_is_str_or_bytes(wrong: object) -> None:
    with pytest.raises(TypeError, match="an argument is str or bytes, not "):
        greeted().ask(b"PING", (wrong,))  # type: ignore[arg-type]


def test_no_line_is_longer_than_a_portal_takes() -> None:
    # ESPS-LINE-19
    requester = greeted()
    longest = requester.ask(b"PING", ("x" * 8184,))
    assert len(longest.request.encode()) == 8192
    with pytest.raises(ValueError, match="longer than 8192 bytes"):
        requester.ask(b"PING", ("x" * 8185,))
    with pytest.raises(ValueError, match="longer than 512 bytes"):
        ClientConnection(numbers(), Limits(max_line=512)).ask(b"PING", (b"\0" * 200,))


# -- answers over TCP


@quickly
@given(
    st.lists(st.lists(args, max_size=3), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    places,
)
def test_answers_find_their_requests_in_any_order(
    rows: list[list[tuple[bytes, ...]]], chance: random.Random, at: list[int]
) -> None:
    requester = greeted()
    asked = [requester.ask(b"CALL", ("x",)) for _ in rows]
    waiting = [
        [*(Reply(p.request.tag, DATA, row) for row in mine), Reply(p.request.tag, OK, (b"end",))]
        for p, mine in zip(asked, rows, strict=True)
    ]
    stream = b""
    while any(waiting):
        stream += chance.choice([lines for lines in waiting if lines]).pop(0).encode()
    for piece in cut(stream, at):
        requester.receive_stream_untrusted(piece)
    assert [list(pending.rows) for pending in asked] == rows
    assert all(pending.has_news and pending.result() == (b"end",) for pending in asked)


def test_so_much_of_a_call_is_held_and_no_more() -> None:
    requester = ClientConnection(numbers(), most_held=1000)
    requester.receive_stream_untrusted(GREETING)
    slow, quick = requester.ask(b"CALL", ("x",)), requester.ask(b"CALL", ("x",))
    row = (b"a" * 400,)
    requester.receive_stream_untrusted(b"1 DATA %b\n2 DATA %b\n" % (*row, *row) * 2)
    assert (slow.is_over, quick.is_over) == (False, False)
    assert quick.collect() == row
    requester.receive_stream_untrusted(b"1 DATA %b\n2 DATA %b\n" % (*row, *row))
    assert (list(slow.rows), slow.held, slow.has_news) == ([], 0, True)
    with pytest.raises(SlowConsumerError, match="over 1000 bytes of its lines"):
        slow.result()
    requester.receive_stream_untrusted(b"1 DATA late\n1 OK\n2 OK end\n")
    assert (list(slow.rows), slow.final) == ([], None)
    assert (list(quick.rows), quick.result()) == ([row, row], (b"end",))


@quickly
@given(st.lists(notices | replies, max_size=6))
def test_what_it_cannot_assign_is_ignored(strange: list[Reply]) -> None:
    # ESPS-TCP-6
    requester = ClientConnection(lambda: b"mine")
    requester.receive_stream_untrusted(GREETING)
    pending = requester.ask(b"PING", ())
    stream = b"".join(answer.encode() for answer in strange if answer.encode()[:5] != b"mine ")
    requester.receive_stream_untrusted(stream + b"mine OK\n")
    assert pending.result() == ()
    assert requester.product == b"esps-portal/0.1.0"


def test_a_refusal_is_raised_where_the_result_is_asked_for() -> None:
    requester = greeted()
    pending = requester.ask(b"CALL", ("x",))
    requester.receive_stream_untrusted(b"1 DATA a\n1 ERR x-mine two%20words %FF\n")
    assert (list(pending.rows), pending.has_news) == ([(b"a",)], True)
    with pytest.raises(ReplyError) as caught:
        pending.result()
    assert (caught.value.code, caught.value.arguments) == ("x-mine", (b"two words", b"\xff"))


def test_nothing_comes_to_what_was_forgotten() -> None:
    requester = greeted()
    forgotten, pending = requester.ask(b"PING", ()), requester.ask(b"PING", ())
    requester.forget(forgotten)
    requester.forget(forgotten)
    requester.receive_stream_untrusted(b"1 OK\n2 OK\n2 ERR late\n")
    assert (forgotten.final, pending.result()) == (None, ())


def test_an_unfinished_line_is_no_reply() -> None:
    # ESPS-TCP-13
    requester = greeted()
    pending = requester.ask(b"PING", ())
    requester.receive_stream_untrusted(b"1 OK")
    assert not pending.has_news


# -- greeting and goodbye


@pytest.mark.parametrize(
    ("line", "product"),
    [(GREETING, b"esps-portal/0.1.0"), (b"* ESPS/1 a/1 more %FF\n", b"a/1"), (b"* ESPS/1\n", b"")],
)
def test_the_greeting_tells_the_product(line: bytes, product: bytes) -> None:
    # ESPS-TCP-4
    requester = ClientConnection(numbers())
    assert requester.product is None
    requester.receive_stream_untrusted(line)
    assert requester.product == product


def test_a_goodbye_in_place_of_the_greeting() -> None:
    with pytest.raises(ClosedError) as caught:
        ClientConnection(numbers()).receive_stream_untrusted(b"* BYE busy\n")
    assert caught.value.reason == "busy"


def test_a_goodbye_later_is_kept() -> None:
    requester = greeted()
    pending = requester.ask(b"PING", ())
    requester.receive_stream_untrusted(b"* BYE closing now\n1 OK\n")
    assert requester.goodbye == "closing now"
    assert pending.result() == ()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"1 OK\n", "bad-line"),  # no greeting
        (b"HTTP/1.1 400 Bad Request\r\n", "bad-line"),
        (b"220 mail.example.org ESMTP\r\n", "bad-line"),
        (b"\x15\x03\x01\x00\x02\x02F\n", "bad-line"),
        (GREETING + b" \n", "bad-line"),
        (GREETING + b"1 OK \n", "bad-line"),
        (b"4\0\0\0\n8.0.36\0", "bad-line"),  # no LF will come
        (b"\r\n\n\x15\x03", "bad-line"),
        (b"x" * 8193, "bad-line"),
        (b"* ERR busy\n1 OK\n", "bad-line"),
        (b"* " + b"x" * 8191, "too-long"),
        (GREETING + b"x" * 8193, "too-long"),
    ],
)
def test_a_peer_that_speaks_something_else(data: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        ClientConnection(numbers()).receive_stream_untrusted(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "message", "received"),
    [
        (b"SSH-2.0-x\r\n", "the peer does not speak ESPS/1", b"SSH-2.0-x\r\n"),
        (b"\r\n* OK IMAP\r\n", "the peer does not speak ESPS/1", b"\r\n* OK IMAP\r\n"),
        (b"x" * 5000, "the peer does not speak ESPS/1", b"x" * 1024),
        (
            GREETING + b"rubbish\n",
            "the peer does not keep to ESPS/1: it is not a reply: TAG OK, TAG DATA or TAG ERR",
            b"rubbish",
        ),
        (
            GREETING + b"x" * 9000,
            "the peer does not keep to ESPS/1: the peer sent an over-long line",
            b"x" * 34,
        ),
    ],
)
@pytest.mark.parametrize("piece", [1, 10_000])
def test_what_it_sent_is_told(data: bytes, message: str, received: bytes, piece: int) -> None:
    requester = ClientConnection(numbers())

    def receive() -> None:
        for start in range(0, len(data), piece):
            requester.receive_stream_untrusted(data[start : start + piece])

    with pytest.raises(ProtocolError) as caught:
        receive()
    error = requester.peer_error(caught.value)
    assert error.message == message
    assert error.received == (received if piece > 1 else received[: len(error.received)])
    assert error.received


def test_how_a_connection_has_ended() -> None:
    requester = ClientConnection(numbers())
    closed = requester.ended()
    assert isinstance(closed, ClosedError)
    assert not closed.greeted
    requester.receive_stream_untrusted(b"\r\n* B")
    cut_off = requester.ended()
    assert isinstance(cut_off, PeerError)
    assert cut_off.received == b"\r\n* B"
    requester = greeted()
    requester.receive_stream_untrusted(b"* BYE idle\n")
    closed = requester.ended()
    assert isinstance(closed, ClosedError)
    assert (closed.reason, closed.greeted) == ("idle", True)


@quickly
@given(noise, places)
def test_only_two_errors_leave_the_stream(data: bytes, at: list[int]) -> None:
    requester = ClientConnection(numbers())
    pending = requester.ask(b"PING", ())
    try:
        for piece in cut(GREETING + data if len(data) % 2 else data, at):
            requester.receive_stream_untrusted(piece)
    except (ProtocolError, ClosedError):
        return
    assert len(pending.rows) <= data.count(b"DATA")


# -- answers over UDP


def asked() -> tuple[ClientConnection, PendingRequest]:
    requester = ClientConnection(lambda: b"mine")
    return requester, requester.ask(b"CALL", ("x",))


def test_a_datagram_holds_the_whole_answer() -> None:
    requester, pending = asked()
    requester.receive_datagram_untrusted(b"mine DATA a\nmine DATA b\r\nmine OK c\n")
    assert (list(pending.rows), pending.result()) == ([(b"a",), (b"b",)], (b"c",))


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"", b"\n", b"mine OK", b"mine DATA a\n", b"mine OK\n\n", b"mine OK \n", b"\xff\n"),
        *(b"other OK\n", b"other DATA\nmine OK\n", b"* BYE idle\nmine OK\n", b"mine OK\n* BYE\n"),
        *(b"* ERR\n", b"* ERR busy mine\n", b"* BYE tag-in-use mine\n"),
        *(b"* ERR tag-in-use\n", b"* ERR tag-in-use other\n"),
    ],
)
def test_a_datagram_that_answers_something_else_is_ignored(datagram: bytes) -> None:
    # ESPS-UDP-32
    requester, pending = asked()
    requester.receive_datagram_untrusted(datagram)
    assert not pending.has_news
    assert requester.rejected in (datagram, b"")  # empty where it is another's answer
    requester.receive_datagram_untrusted(b"mine OK\n")
    assert pending.result() == ()


def test_that_the_tag_is_in_use_is_an_answer() -> None:
    # ESPS-UDP-32
    requester, pending = asked()
    requester.receive_datagram_untrusted(b"* ERR tag-in-use mine\n")
    with pytest.raises(ReplyError, match="tag-in-use"):
        pending.result()


@quickly
@given(noise)
def test_nothing_leaves_a_datagram(datagram: bytes) -> None:
    requester, pending = asked()
    requester.receive_datagram_untrusted(datagram)
    assert not pending.has_news


def test_the_same_request_can_be_waited_for_again() -> None:
    # ESPS-UDP-18
    requester, pending = asked()
    requester.receive_datagram_untrusted(b"mine ERR too-large 41\n")
    assert pending.final is not None
    requester.resume(pending)
    assert not pending.has_news
    assert parse_request_untrusted(pending.request.encode(41)[:-1]) == pending.request
    requester.receive_datagram_untrusted(b"mine OK a\n")
    assert pending.result() == (b"a",)
    assert pending.request == Request(b"mine", b"CALL", (b"x",))
