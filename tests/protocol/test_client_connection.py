"""The client connection: which request a reply belongs to."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import (
    ClosedError,
    PeerError,
    ProtocolError,
    ReplyError,
    SlowConsumerError,
)
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import (
    DATA,
    EXPECTS_TLS,
    OK,
    Notice,
    Reply,
    parse_request_untrusted,
)
from tests.protocol.strategies import args, byte_by_byte, cut, noise, notices, places, replies

GREETING = b"* ESPS/1 esps-portal/0.1.0\n"


def numbers() -> Callable[[], bytes]:
    """Return tags as a TCP client makes them."""
    numbered = count(1)
    return lambda: b"%d" % next(numbered)


def greeted() -> ClientConnection:
    client = ClientConnection(numbers())
    client.receive_stream_untrusted(GREETING)
    return client


# -- asking


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=9) | st.binary(max_size=9)))
def test_a_request_carries_its_arguments(given_args: list[str | bytes]) -> None:
    pending = greeted().ask("CALL", given_args)
    request = parse_request_untrusted(pending.line[:-1])
    assert (request.tag, request.verb) == (b"1", b"CALL")
    assert list(request.args) == [a.encode() if isinstance(a, str) else a for a in given_args]
    assert not pending.is_ready


def test_each_request_has_a_tag_of_its_own() -> None:
    client = greeted()
    tags = [client.ask("PING", ()).tag for _ in range(3)]
    line = client.cancellation(client.ask("CALL", ("delay",)))
    assert tags == [b"1", b"2", b"3"]
    assert line == b"5 CANCEL 4\n"


@pytest.mark.parametrize("wrong", [1, None, bytearray(b"x")])
def test_an_argument_is_str_or_bytes(wrong: object) -> None:
    with pytest.raises(TypeError, match="an argument must be str or bytes, not "):
        greeted().ask("PING", (wrong,))  # type: ignore[arg-type]


def test_no_line_is_longer_than_a_portal_takes() -> None:
    # ESPS-LINE-19
    client = greeted()
    longest = client.ask("PING", ("x" * 8184,))
    assert len(longest.line) == 8192
    with pytest.raises(ValueError, match="longer than 8192 bytes"):
        client.ask("PING", ("x" * 8185,))
    with pytest.raises(ValueError, match="longer than 512 bytes"):
        ClientConnection(numbers(), Limits(max_line=512)).ask("PING", (b"\0" * 200,))


# -- answers over TCP


@given(
    st.lists(st.lists(args, max_size=3), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
    places,
)
def test_answers_find_their_requests_in_any_order(
    rows: list[list[tuple[bytes, ...]]], chance: random.Random, at: list[int]
) -> None:
    client = greeted()
    asked = [client.ask("CALL", ("x",)) for _ in rows]
    waiting = [
        [*(Reply(p.tag, DATA, row) for row in mine), Reply(p.tag, OK, (b"end",))]
        for p, mine in zip(asked, rows, strict=True)
    ]
    stream = b""
    while any(waiting):
        stream += chance.choice([lines for lines in waiting if lines]).pop(0).encode()
    for piece in cut(stream, at):
        client.receive_stream_untrusted(piece)
    assert [list(pending.rows) for pending in asked] == rows
    assert all(pending.is_ready and pending.result() == (b"end",) for pending in asked)


pieces_of_a_stream = st.lists(
    st.sampled_from(
        [
            *(b"1 OK\n", b"1 OK a\n", b"2 OK a b\r\n", b"3 OK %41\n", b"2 OK a  b\n", b"1 OK"),
            *(b" a\n", b"1 OK a\n2 OK b\n", b'1 OK ""\n', b"1 DATA a\n", b"2 ERR busy\n", b"\n"),
            *(b"* BYE idle\n", b"* BYE closing\n", b"1 OK a #\n", b"1 OK a\r\r\n", b"\n1 OK\n"),
            *(b"1 OK %b\n" % (b"x" * size) for size in (506, 507, 2000)),
        ]
    )
    | replies.map(Reply.encode)
    | noise.filter(bool),
    max_size=6,
)


@given(pieces_of_a_stream)
@example([b"1 OK a\n", b"* BYE idle\n", b"2 OK b\n"])
@example([b"1 OK a", b"2 OK b\n"])
@example([b"1 OK %b\n" % (b"x" * 507), b"2 OK b\n"])
def test_how_a_stream_is_cut_makes_no_difference(pieces: list[bytes]) -> None:
    # A single byte is never taken as a whole reply: the other client has only the general way.
    states = []
    for cut_so in (pieces, byte_by_byte(b"".join(pieces))):
        client = ClientConnection(numbers(), Limits(max_line=512))
        client.receive_stream_untrusted(GREETING)
        asked, error = [client.ask("PING", ()) for _ in range(3)], ""
        try:
            for piece in cut_so:
                client.receive_stream_untrusted(piece)
        except ProtocolError as found:
            error = found.message
        answers = [(list(p.rows), p.final, p.failure) for p in asked]
        ended = client.has_ended, client.bye_reason
        states.append((answers, error, ended, client.rejected, error or client.unfinished))
    assert states[0] == states[1]


def test_the_rows_of_a_call_are_limited() -> None:
    client = ClientConnection(numbers(), max_buffered=1000)
    client.receive_stream_untrusted(GREETING)
    slow, quick = client.ask("CALL", ("x",)), client.ask("CALL", ("x",))
    row = (b"a" * 400,)
    client.receive_stream_untrusted(b"1 DATA %b\n2 DATA %b\n" % (*row, *row) * 2)
    assert (slow.is_over, quick.is_over) == (False, False)
    assert quick.collect() == row
    client.receive_stream_untrusted(b"1 DATA %b\n2 DATA %b\n" % (*row, *row))
    assert (list(slow.rows), slow.buffered, slow.is_ready) == ([], 0, True)
    with pytest.raises(SlowConsumerError, match="over 1000 bytes of its lines were not read"):
        slow.result()
    client.receive_stream_untrusted(b"1 DATA late\n1 OK\n2 OK end\n")
    assert (list(slow.rows), slow.final) == ([], None)
    assert (list(quick.rows), quick.result()) == ([row, row], (b"end",))


@given(st.lists(notices | replies, max_size=6))
def test_what_it_cannot_assign_is_ignored(strange: list[Reply]) -> None:
    # ESPS-TCP-6
    client = ClientConnection(lambda: b"mine")
    client.receive_stream_untrusted(GREETING)
    pending = client.ask("PING", ())
    lines = [answer.encode() for answer in strange]
    # A BYE ends the connection (ESPS-CLI-4).
    stream = b"".join(line for line in lines if not line.startswith((b"mine ", b"* BYE")))
    client.receive_stream_untrusted(stream + b"mine OK\n")
    assert pending.result() == ()
    assert client.product == b"esps-portal/0.1.0"


def test_an_error_is_raised_by_result() -> None:
    client = greeted()
    pending = client.ask("CALL", ("x",))
    client.receive_stream_untrusted(b"1 DATA a\n1 ERR x-mine two%20words %FF\n")
    assert (list(pending.rows), pending.is_ready) == ([(b"a",)], True)
    with pytest.raises(ReplyError) as caught:
        pending.result()
    assert (caught.value.code, caught.value.arguments) == ("x-mine", (b"two words", b"\xff"))


def test_replies_to_forgotten_requests_are_ignored() -> None:
    client = greeted()
    forgotten, pending = client.ask("PING", ()), client.ask("PING", ())
    client.forget(forgotten)
    client.forget(forgotten)
    client.receive_stream_untrusted(b"1 OK\n2 OK\n2 ERR late\n")
    assert (forgotten.final, pending.result()) == (None, ())


def test_an_unfinished_line_is_not_a_reply() -> None:
    # ESPS-TCP-13
    client = greeted()
    pending = client.ask("PING", ())
    client.receive_stream_untrusted(b"1 OK")
    assert not pending.is_ready


# -- greeting and BYE


@pytest.mark.parametrize(
    ("line", "product"),
    [(GREETING, b"esps-portal/0.1.0"), (b"* ESPS/1 a/1 more %FF\n", b"a/1"), (b"* ESPS/1\n", b"")],
)
def test_the_greeting_holds_the_product(line: bytes, product: bytes) -> None:
    # ESPS-TCP-4
    client = ClientConnection(numbers())
    assert client.product is None
    client.receive_stream_untrusted(line)
    assert client.product == product


def test_a_bye_in_place_of_the_greeting() -> None:
    with pytest.raises(ClosedError) as caught:
        ClientConnection(numbers()).receive_stream_untrusted(b"* BYE busy\n")
    assert caught.value.reason == "busy"


def test_a_client_accepts_a_line_of_the_default_length() -> None:  # ESPS-LINE-24
    client = greeted()
    pending = client.ask("PING", ())
    line = b"1 OK ".ljust(8191, b"x") + b"\n"
    client.receive_stream_untrusted(line)
    assert pending.result() == (line[5:-1],)
    with pytest.raises(ProtocolError, match="over-long"):
        client.receive_stream_untrusted(b"x" + line)


def test_a_later_bye_is_kept() -> None:
    client = greeted()
    pending = client.ask("PING", ())
    client.receive_stream_untrusted(b"* BYE closing now\n1 OK\n")
    assert client.bye_reason == "closing now"
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
        (b"\r\n" * 1000 + b"SSH-2.0-x\r\n", "the peer does not speak ESPS/1", b"\r\n" * 512),
        (
            GREETING + b"rubbish\n",
            "the peer violates ESPS/1: it is not a reply: TAG OK, TAG DATA or TAG ERR",
            b"rubbish",
        ),
        (
            GREETING + b"x" * 9000,
            "the peer violates ESPS/1: the peer sent an over-long line",
            b"x" * 34,
        ),
    ],
)
@pytest.mark.parametrize("piece", [1, 10_000])
def test_the_error_holds_what_it_sent(
    data: bytes, message: str, received: bytes, piece: int
) -> None:
    client = ClientConnection(numbers())

    def receive() -> None:
        for start in range(0, len(data), piece):
            client.receive_stream_untrusted(data[start : start + piece])

    with pytest.raises(ProtocolError) as caught:
        receive()
    error = client.peer_error(caught.value)
    assert error.message == message
    assert error.received == (received if piece > 1 else received[: len(error.received)])
    assert error.received


def test_the_error_after_the_end() -> None:
    client = ClientConnection(numbers())
    closed = client.ended()
    assert isinstance(closed, ClosedError)
    assert not closed.greeted
    client.receive_stream_untrusted(b"\r\n* B")
    cut_off = client.ended()
    assert isinstance(cut_off, PeerError)
    assert cut_off.received == b"\r\n* B"
    assert cut_off.message == "the peer ended the connection within its first line"
    client = ClientConnection(numbers())
    client.receive_stream_untrusted(b"* ERR busy\n")
    other = client.ended()
    assert isinstance(other, PeerError)
    assert other.message == "the peer does not speak ESPS/1"
    client = greeted()
    client.receive_stream_untrusted(b"* BYE idle\n")
    closed = client.ended()
    assert isinstance(closed, ClosedError)
    assert (closed.reason, closed.greeted, closed.unfinished) == ("idle", True, b"")
    client.receive_stream_untrusted(b"1 OK x\n1 OK hel")
    closed = client.ended()
    assert isinstance(closed, ClosedError)
    assert closed.unfinished == client.unfinished == b"1 OK hel"
    client.receive_stream_untrusted(b"l" * 5000)
    assert client.unfinished == b"1 OK hel" + b"l" * (1024 - 8)


@given(noise, places)
def test_only_two_errors_leave_the_stream(data: bytes, at: list[int]) -> None:
    client = ClientConnection(numbers())
    pending = client.ask("PING", ())
    try:
        for piece in cut(GREETING + data if len(data) % 2 else data, at):
            client.receive_stream_untrusted(piece)
    except (ProtocolError, ClosedError):
        return
    assert len(pending.rows) <= data.count(b"DATA")


# -- notices


def test_notices_after_the_greeting_are_passed_on() -> None:
    client = ClientConnection(numbers())
    client.receive_stream_untrusted(GREETING + b"* ERR x-%d\n" * 6 % (1, 2, 3, 4, 5, 6))
    seen: list[Notice] = []
    client.on_notice(seen.append)
    assert [notice.args[0] for notice in seen] == [b"x-3", b"x-4", b"x-5", b"x-6"]
    client.receive_stream_untrusted(b"* ERR bad-line %1b\n* BYE idle\n* ERR too-late\n")
    assert seen[4:] == [Notice(b"ERR", (b"bad-line", b"\x1b")), Notice(b"BYE", (b"idle",))]


def test_a_peer_that_expects_tls() -> None:
    client = ClientConnection(numbers())
    client.receive_stream_untrusted(EXPECTS_TLS.encode())
    said = client.ended()
    client = ClientConnection(numbers())
    with pytest.raises(ProtocolError) as caught:
        client.receive_stream_untrusted(b"\x15\x03\x01\x00\x02\x02\x46")
    for error in (said, client.peer_error(caught.value)):
        assert isinstance(error, PeerError)
        assert error.message == "the peer expects TLS: use esps+tls://"
