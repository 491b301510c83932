"""Whose turn it is on a connection, and which answer a rejected line gets."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.protocol.messages import Reply, Request
from esps_portal.protocol.server_connection import State
from tests.protocol.carrier import LIMITS, Carrier, converse
from tests.protocol.strategies import cut, noise, octet_by_octet, places, quickly

MAX_LINE = LIMITS.max_line


# -- any bytes in any pieces


@quickly
@given(noise, places)
@example(b"\n\x16", [1])
@example(b"\x16\x03\n1 PING\n", [1, 2, 3])
@example(b"1 CALL a\n1 PING\n2 CANCEL 1\n3 QUIT\n4 PING\n", [])
@example(b"x" * 1100 + b"\n1 PING\n", [513, 1024])
def test_any_pieces_have_the_same_effects(data: bytes, at: list[int]) -> None:
    # ESPS-LINE-11
    whole = converse([data] if data else [])
    for pieces in (cut(data, at), octet_by_octet(data)):
        other = converse(pieces)
        assert (other.sent, other.read, other.state) == (whole.sent, whole.read, whole.state)
        assert other.calls.keys() == whole.calls.keys()


AFTER_THE_TAG = [
    *(b"PING a", b"PING %", b"CALL b", b"CALL c", b"CANCEL 0", b"CANCEL 3", b"HELLO", b"LIST a"),
    *(b"nonsense", b" PING", b"", b"OK", b"PING " + b"x" * 600, b"CANCEL", b"QUIT now"),
]


@quickly
@given(st.lists(st.sampled_from(AFTER_THE_TAG), max_size=12), places)
def test_each_request_has_exactly_one_final_line(rests: list[bytes], at: list[int]) -> None:
    # ESPS-MSG-2, ESPS-MSG-4, ESPS-MSG-5
    data = b"".join(b"%d %b\n" % numbered for numbered in enumerate(rests))
    carrier = converse(cut(data, at))
    carrier.conversation.end_of_input()
    carrier.finish_all()
    tags = [answer.tag for answer in carrier.sent if isinstance(answer, Reply)]
    assert sorted(tags) == sorted(b"%d" % n for n in range(len(rests)))
    assert len(carrier.sent) == len(rests)


# -- requests


def test_requests_are_read_in_order_and_at_once() -> None:
    # ESPS-TCP-3
    carrier = converse([b"1 HELLO ESPS/1\n2 PING %41 #\r\n3 LIST\n"])
    assert carrier.read == [
        Request(b"1", b"HELLO", (b"ESPS/1",)),
        Request(b"2", b"PING", (b"A",)),
        Request(b"3", b"LIST"),
    ]


def test_receive_says_whether_a_line_was_completed() -> None:
    conversation = Carrier().conversation
    assert conversation.receive(b"1 PI") is False
    assert conversation.receive(b"NG\n2") is True
    assert [conversation.read(piece) for piece in conversation.lines] == [Request(b"1", b"PING")]


def test_empty_lines_are_ignored() -> None:
    # ESPS-LINE-10
    carrier = converse([b"\n\r\n\n1 PING\n\r\n"])
    assert carrier.lines == [b"1 OK"]


def test_a_tag_is_free_after_its_final_line() -> None:
    # ESPS-TCP-11
    carrier = converse([b"1 PING a\n1 PING b\n1 CALL c\n"])
    carrier.finish(carrier.calls[b"1"])
    carrier.feed(b"1 PING d\n")
    assert carrier.lines == [b"1 OK a", b"1 OK b", b"1 OK", b"1 OK d"]


def test_a_running_call_delays_nothing_else() -> None:
    carrier = converse([b"1 CALL a\n2 CALL b\n3 PING\n"])
    assert carrier.conversation.running == 2
    carrier.finish(carrier.calls[b"2"])
    carrier.finish(carrier.calls[b"1"])
    assert carrier.lines == [b"3 OK", b"2 OK", b"1 OK"]
    assert carrier.conversation.running == 0


def test_so_many_calls_run_at_a_time_and_no_more() -> None:
    carrier = converse([b"1 CALL\n2 CALL\n"])
    assert not carrier.conversation.is_full
    carrier.feed(b"3 CALL\n4 CALL\n")
    assert carrier.conversation.is_full
    assert carrier.lines == [b"4 ERR busy"]
    assert carrier.calls.keys() == {b"1", b"2", b"3"}
    carrier.finish(carrier.calls[b"2"])
    assert not carrier.conversation.is_full


# -- rejected lines

REJECTED = [
    (b"1  PING", b"1 ERR bad-line"),
    (b"1", b"1 ERR bad-line"),
    (b"@ PING", b"* ERR bad-line"),
    (b"* ERR busy", b"* ERR bad-line"),
    (b"1 ping", b"1 ERR unknown-verb"),
    (b"1 OK", b"1 ERR unknown-verb"),
    (b"1 CANCEL", b"1 ERR bad-arguments"),
    (b"1 CANCEL a b", b"1 ERR bad-arguments"),
    (b"1 CANCEL %20", b"1 ERR bad-arguments"),
    (b"1 CANCEL 1", b"1 ERR not-in-flight"),
    (b"1 QUIT now", b"1 ERR bad-arguments"),
    (b"1 PING " + b"x" * 505, b"1 ERR too-long"),
    (b"t" * 32 + b" " + b"\xff" * 505, b"t" * 32 + b" ERR too-long"),
    (b"x" * 513, b"* ERR too-long"),
    # Not `tag SP`, nor exactly a tag: the CR is in the middle of the line.
    (b"t" * 32 + b"\r" + b"x" * 505, b"* ERR too-long"),
    (b"\xff" * 600, b"* ERR too-long"),
]


@pytest.mark.parametrize(("line", "answer"), REJECTED)
def test_a_rejected_line_is_answered_and_reading_goes_on(line: bytes, answer: bytes) -> None:
    # ESPS-CHK-1, ESPS-CHK-2, ESPS-CHK-6
    for pieces in ([line + b"\nz PING\n"], octet_by_octet(line + b"\nz PING\n")):
        carrier = converse(pieces)
        assert carrier.lines == [answer, b"z OK"]
        assert [request.tag for request in carrier.read] == [b"z"]


@pytest.mark.parametrize(
    "line",
    [
        *(b"1 PING", b"1 CALL x", b"1 CANCEL 1", b"1 QUIT", b"1 nonsense", b"1  PING", b"1"),
        *(b"1 PING \xff", b"1 " + b"x" * 600, b"1 GET HTTP/1.1"),
    ],
)
def test_a_tag_in_flight_comes_before_all_else(line: bytes) -> None:
    # ESPS-CHK-3, ESPS-CHK-5
    carrier = converse([b"1 CALL a\n", line + b"\n"])
    assert carrier.lines == [b"* ERR tag-in-use 1"]
    assert len(carrier.read) == 1
    assert carrier.state is State.OPEN


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"1  PING " + b"x" * 600, b"too-long"),
        (b"1  nonsense", b"bad-line"),
        (b"1 nonsense", b"closing"),
        (b"1 QUIT now", b"closing"),
        (b"1 QUIT", b"closing"),
        (b"1 CANCEL 9", b"closing"),
        (b"1 CALL a", b"closing"),
    ],
)
def test_the_order_of_the_checks_while_the_server_closes(line: bytes, code: bytes) -> None:
    # ESPS-CHK-4, ESPS-END-6
    carrier = Carrier()
    carrier.conversation.shut_down()
    carrier.feed(b"0 PING\n", line + b"\n")
    assert carrier.lines == [b"0 ERR closing", b"1 ERR " + code]
    assert carrier.read == []
    assert carrier.state is State.CLOSING


# -- a line at the limit


def test_a_line_of_just_the_limit_is_read() -> None:
    # ESPS-LINE-13: its LF and its padding are counted
    line = b"1 PING #".ljust(MAX_LINE - 1, b"#") + b"\n"
    assert len(line) == MAX_LINE
    assert converse([line]).lines == [b"1 OK"]
    assert converse([b"1 PING \r\n".rjust(MAX_LINE + 1, b"1")]).lines == [b"* ERR too-long"]


def test_too_long_is_said_once_and_before_the_lf() -> None:
    # ESPS-LINE-14, ESPS-LINE-15, ESPS-LINE-16
    carrier = converse([b"1 PING ".ljust(MAX_LINE, b"x")])
    assert carrier.lines == []
    carrier.feed(b"x")
    assert carrier.lines == [b"1 ERR too-long"]
    carrier.feed(b"x" * 400, b"\n2 PING\n")
    assert carrier.lines == [b"1 ERR too-long", b"2 OK"]


# -- other protocols


def test_a_handshake_of_tls_needs_no_lf() -> None:
    # ESPS-LINE-20, ESPS-SEC-1
    carrier = converse([b"\x16", b"\x03\x01\n1 CALL a\n"])
    assert carrier.lines == [b"* ERR bad-line"]
    assert (carrier.state, carrier.read) == (State.ENDED, [])


@pytest.mark.parametrize(
    "line",
    [
        *(b"GET / HTTP/1.1", b"GET x HTTP/1.0", b"OPTIONS * HTTP/1.1", b"a:b HTTP/1.1"),
        *(b"POST /CALL HTTP/0.9", b"PRI * HTTP/2.0", b" HTTP/1.1", b"PING HTTP/1.1"),
    ],
)
@pytest.mark.parametrize("closing", [False, True])
def test_http_is_told_so_and_ends(line: bytes, *, closing: bool) -> None:
    # ESPS-LINE-21, ESPS-SEC-1
    carrier = Carrier()
    if closing:
        carrier.conversation.shut_down()
    carrier.feed(b"\r\n" + line + b"\r\nHost: x\r\n1 CALL a\n")
    assert carrier.lines == [b"* ERR bad-line"]
    assert (carrier.state, carrier.read) == (State.ENDED, [])


@pytest.mark.parametrize(
    "data",
    [
        b"1 PING HTTP/1.1\n",
        b"1 PING\nGET / HTTP/1.1\n",
        b"1\nGET / HTTP/1.1\n",
        b"GET / HTTP/2\n",
        b"GET / http/1.1\n",
        b"GET /HTTP/1.1\n",
        b"1 PING\n\x16\x03\n",
        # Only its head looks like HTTP: it is an over-long line, and no line is first behind it.
        b"x" * 21 + b" / x HTTP/1.1" + b"x" * 600 + b"\nGET / HTTP/1.1\n",
    ],
)
def test_what_is_not_the_first_line_or_not_http_ends_nothing(data: bytes) -> None:
    carrier = converse([data, b"z PING\n"])
    assert carrier.lines[-1] == b"z OK"
    assert carrier.state is State.OPEN


def test_while_closing_the_second_line_is_no_first_line_either() -> None:
    carrier = Carrier()
    carrier.conversation.shut_down()
    carrier.feed(b"1 PING\nGET / HTTP/1.1\n")
    assert carrier.lines == [b"1 ERR closing", b"GET ERR bad-line"]
    assert carrier.state is State.CLOSING
