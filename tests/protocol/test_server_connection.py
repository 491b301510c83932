"""What a server connection does about each line, and how it answers a rejected one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.protocol import grammar
from esps_portal.protocol.messages import Reply, Request
from esps_portal.protocol.server_connection import ServerConnection
from esps_portal.protocol.states import State
from tests.cases import cases
from tests.protocol.memory_server import LIMITS, MemoryServer, server_after
from tests.protocol.strategies import byte_by_byte, cut, noise, places

MAX_LINE = LIMITS.max_line


# -- any bytes in any pieces


def test_lines_that_were_not_read_stay() -> None:
    connection = ServerConnection(LIMITS)
    for line in b"1 PING\n", b"2 PING\n", b"3 PI", b"NG\n4 PING\n":
        connection.receive(line)
    assert list(connection.lines) == [b"1 PING", b"2 PING", b"3 PING", b"4 PING"]


@given(noise, places)
@example(b"\n\x16", [1])
@example(b"\x16\x03\n1 PING\n", [1, 2, 3])
@example(b"1 CALL a\n1 PING\n2 CANCEL 1\n3 QUIT\n4 PING\n", [])
@example(b"x" * 1100 + b"\n1 PING\n", [513, 1024])
@example(b"0 LIST\n1 CALL a\n1 PING\n2 CALL b\n\n2 CALL b\n3 CANCEL 2\n2 PING\n", [])
def test_any_pieces_have_the_same_effects(data: bytes, at: list[int]) -> None:
    # ESPS-LINE-11
    whole = server_after([data] if data else [])
    runs = [(pieces, n) for pieces in (cut(data, at), byte_by_byte(data)) for n in (0, 1, 1000)]
    for pieces, bulk in runs:
        other = server_after(pieces, bulk=bulk)
        assert (other.sent, other.executed, other.state) == (
            whole.sent,
            whole.executed,
            whole.state,
        )
        assert other.calls.keys() == whole.calls.keys()


AFTER_THE_TAG = [
    *(b"PING a", b"PING %", b"CALL b", b"CALL c", b"CANCEL 0", b"CANCEL 3", b"HELLO", b"LIST a"),
    *(b"nonsense", b" PING", b"", b"OK", b"PING " + b"x" * 600, b"CANCEL", b"QUIT now"),
]


@given(st.lists(st.sampled_from(AFTER_THE_TAG), max_size=12), places)
def test_each_request_has_exactly_one_final_line(rests: list[bytes], at: list[int]) -> None:
    # ESPS-MSG-2, ESPS-MSG-4, ESPS-MSG-5
    rests = [b"PING", *rests]  # a good first line
    data = b"".join(b"%d %b\n" % numbered for numbered in enumerate(rests))
    server = server_after(cut(data, at))
    server.connection.end_of_input()
    server.finish_all()
    tags = [answer.tag for answer in server.sent if isinstance(answer, Reply)]
    assert sorted(tags) == sorted(b"%d" % n for n in range(len(rests)))
    assert len(server.sent) == len(rests)


# -- requests


def test_requests_are_read_in_order_and_at_once() -> None:
    # ESPS-TCP-3
    server = server_after([b"1 HELLO ESPS/1\n2 PING %41 #\r\n3 LIST\n"])
    assert server.executed == [
        Request(b"1", b"HELLO", (b"ESPS/1",)),
        Request(b"2", b"PING", (b"A",)),
        Request(b"3", b"LIST"),
    ]


def test_what_has_come_and_is_not_answered_is_counted() -> None:
    # ESPS-LIM-6
    connection = ServerConnection(LIMITS)
    for lines in (1, 1000):
        connection.receive(b"1 LIST\n" * lines)
    whole = connection.buffered
    assert 6000 < whole <= 7000  # some are looked at
    connection.receive(b"2 PI")
    assert connection.buffered == whole + len(b"2 PI")


def test_receive_returns_whether_a_line_was_completed() -> None:
    connection = MemoryServer().connection
    assert connection.receive(b"1 PI") is False
    assert connection.receive(b"NG\n2") is True
    assert [connection.read(piece) for piece in connection.lines] == [Request(b"1", b"PING")]


def test_plain_requests_are_taken_in_bulk_where_they_need_no_check() -> None:
    server = server_after([b"1 PING\n2 CALL a\n"])  # each is read alone
    connection = server.connection
    connection.receive(b"3 PING\n2 PING\n4 PING\n")
    assert connection.peek_plain(9) == [(b"3", b"", b"", b"", b"")]
    connection.lines.skip(1)
    assert connection.peek_plain(9) == []  # its tag is in flight
    server.read_lines()
    assert server.lines[-2:] == [b"* ERR tag-in-use 2", b"4 OK"]
    connection.receive(b"5 PING\n")
    connection.shut_down()
    assert connection.peek_plain(9) == []
    fresh = MemoryServer().connection
    fresh.receive(b"1 PING\n2 PING\n")
    assert fresh.peek_plain(9) == []  # the first line tells which protocol it is
    fresh.read(next(fresh.lines))
    assert fresh.peek_plain(9) == [(b"2", b"", b"", b"", b"")]


def test_what_was_parsed_of_a_line_is_kept_even_if_that_is_rejected() -> None:
    server = server_after([b"1 CALL a\n"])
    connection, parsed = server.connection, []
    connection.receive(b"1 PING x\n2 nonsense\n@\n3 QUIT\n" + b"x" * 600 + b"\n")
    for line in connection.lines:
        connection.read(line)
        parsed.append(connection.parsed)
    assert parsed == [
        Request(b"1", b"PING", (b"x",)),
        Request(b"2", b"nonsense"),
        None,
        Request(b"3", b"QUIT"),
        None,
    ]


def test_empty_lines_are_ignored() -> None:
    # ESPS-LINE-10
    server = server_after([b"\n\r\n\n1 PING\n\r\n"])
    assert server.lines == [b"1 OK"]


def test_a_tag_is_free_after_its_final_line() -> None:
    # ESPS-TCP-11
    server = server_after([b"1 PING a\n1 PING b\n1 CALL c\n"])
    server.finish(server.calls[b"1"])
    server.feed(b"1 PING d\n")
    assert server.lines == [b"1 OK a", b"1 OK b", b"1 OK", b"1 OK d"]


def test_a_running_call_delays_nothing_else() -> None:
    server = server_after([b"1 CALL a\n2 CALL b\n3 PING\n"])
    assert server.connection.running == 2
    server.finish(server.calls[b"2"])
    server.finish(server.calls[b"1"])
    assert server.lines == [b"3 OK", b"2 OK", b"1 OK"]
    assert server.connection.running == 0


def test_the_number_of_running_calls_is_limited() -> None:
    server = server_after([b"1 CALL a\n2 CALL a\n"])
    assert not server.connection.is_full
    server.feed(b"3 CALL a\n4 CALL a\n")
    assert server.connection.is_full
    assert server.lines == [b"4 ERR busy"]
    assert server.calls.keys() == {b"1", b"2", b"3"}
    server.finish(server.calls[b"2"])
    assert not server.connection.is_full


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
    data = b"y PING\n" + line + b"\nz PING\n"
    for pieces in ([data], byte_by_byte(data)):
        server = server_after(pieces)
        assert server.lines == [b"y OK", answer, b"z OK"]
        assert [request.tag for request in server.executed] == [b"y", b"z"]


@pytest.mark.parametrize(
    "line",
    [
        *(b"1 PING", b"1 CALL x", b"1 CANCEL 1", b"1 QUIT", b"1 nonsense", b"1  PING", b"1"),
        *(b"1 PING \xff", b"1 " + b"x" * 600, b"1 GET HTTP/1.1"),
    ],
)
def test_a_tag_in_flight_comes_before_all_else(line: bytes) -> None:
    # ESPS-CHK-3, ESPS-CHK-5
    server = server_after([b"1 CALL a\n", line + b"\n"])
    assert server.lines == [b"* ERR tag-in-use 1"]
    assert len(server.executed) == 1
    assert server.state is State.OPEN


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
    server = MemoryServer()
    server.connection.shut_down()
    server.feed(b"0 PING\n", line + b"\n")
    assert server.lines == [b"0 ERR closing", b"1 ERR " + code]
    assert server.executed == []
    assert server.state is State.CLOSING


# -- a line at the limit


def test_a_line_of_just_the_limit_is_read() -> None:
    # ESPS-LINE-13: its LF and its padding are counted
    line = b"1 PING #".ljust(MAX_LINE - 1, b"#") + b"\n"
    assert len(line) == MAX_LINE
    assert server_after([line]).lines == [b"1 OK"]
    longer = b"1 PING \r\n".rjust(MAX_LINE + 1, b"1")
    assert server_after([line + longer]).lines == [b"1 OK", b"* ERR too-long"]


def test_too_long_is_sent_once_and_before_the_lf() -> None:
    # ESPS-LINE-14, ESPS-LINE-15, ESPS-LINE-16
    server = server_after([b"0 PING\n", b"1 PING ".ljust(MAX_LINE, b"x")])
    assert server.lines == [b"0 OK"]
    server.feed(b"x")
    assert server.lines == [b"0 OK", b"1 ERR too-long"]
    server.feed(b"x" * 400, b"\n2 PING\n")
    assert server.lines == [b"0 OK", b"1 ERR too-long", b"2 OK"]


# -- the first line decides

REQUIRES_HELLO = b"this server needs HELLO ESPS/1 first"


def test_a_first_byte_that_begins_no_request_needs_no_lf() -> None:
    # ESPS-LINE-20, ESPS-SEC-1
    for first in set(range(256)) - set(grammar.FIRST_BYTES):
        for rest in (b"", b"\x03" * 9000, b"\n1 CALL a\n"):
            server = server_after([bytes((first,)) + rest])
            assert server.lines == [b"* ERR bad-line"], first
            (sent,) = server.sent
            assert sent.args[-1].startswith(b"a request begins with a tag; "), first
            server.feed(b"\n1 CALL a\n")
            assert (len(server.lines), server.state, server.executed) == (1, State.ENDED, []), first


BAD_FIRST_LINES = [
    (b"GET / HTTP/1.1", b"GET ERR bad-line"),
    (b"1", b"1 ERR bad-line"),
    (b"1 PING  x", b"1 ERR bad-line"),
    (b"M" * 40 + b" /", b"* ERR bad-line"),
    (b"\r ", b"* ERR bad-line"),
    (b"HELO x", b"HELO ERR unknown-verb"),
    (b"1 ping", b"1 ERR unknown-verb"),
    (b"1 HELLO", b"1 ERR bad-arguments"),
    (b"1 HELLO ESPS", b"1 ERR bad-arguments"),
    (b"1 LIST a b", b"1 ERR bad-arguments"),
    (b"1 CALL", b"1 ERR bad-arguments"),
    (b"1 CALL /a", b"1 ERR bad-arguments"),
    (b"1 CALL A", b"1 ERR bad-arguments"),
    (b"1 CANCEL", b"1 ERR bad-arguments"),
    (b"1 CANCEL %20", b"1 ERR bad-arguments"),
    (b"1 QUIT now", b"1 ERR bad-arguments"),
    (b"1 PING " + b"x" * MAX_LINE, b"1 ERR too-long"),
    (b"1 CALL a " + b"x" * (MAX_LINE + 100), b"1 ERR too-long"),
]


def test_the_error_says_what_is_wrong_with_a_first_line_that_begins_well() -> None:
    (sent,) = server_after([b"1 PING %\n"]).sent
    assert sent.args[-1].startswith(b"a % must be followed by two hex digits; ")


@pytest.mark.parametrize("before", [b"", b"\n", b"\r\n\r\n"])
@cases(("line", "answer"), BAD_FIRST_LINES)
def test_nothing_follows_a_bad_first_line(line: bytes, answer: bytes, before: bytes) -> None:
    # ESPS-LINE-21, ESPS-LINE-22, ESPS-SEC-1
    data = before + line + b"\r\n1 CALL a\n1 PING\n"
    for pieces, bulk in itertools.product(([data], byte_by_byte(data)), (0, 100)):
        server = MemoryServer(bulk=bulk).feed(*pieces)
        assert server.lines == [answer]
        (sent,) = server.sent
        assert (
            b"the connection closes, since its first line must be a good request" in sent.args[-1]
        )
        assert (server.state, server.executed) == (State.ENDED, [])


@pytest.mark.parametrize(
    "first",
    [
        *(b"1 PING HTTP/1.1", b"1 LIST nosuch", b"1 CALL nosuch", b"1 CANCEL a"),
        *(b"GET PING HTTP/1.1", b"HELLO HELLO ESPS/1"),
    ],
)
def test_a_later_bad_line_ends_nothing(first: bytes) -> None:
    # ESPS-LINE-21, ESPS-CHK-6
    for bad, _ in BAD_FIRST_LINES:
        server = server_after([first + b"\n0 PING\n" + bad + b"\n", b"\x16\nz PING\n"])
        assert server.lines[-1] == b"z OK"
        assert server.state is State.OPEN
        assert all(b"closes" not in sent.args[-1] for sent in server.sent if sent.args)


def test_while_closing_a_good_first_line_is_refused_and_ends_nothing() -> None:
    server = MemoryServer()
    server.connection.shut_down()
    server.feed(b"1 PING\nGET / HTTP/1.1\n")
    assert server.lines == [b"1 ERR closing", b"GET ERR bad-line"]
    assert server.state is State.CLOSING


@pytest.mark.parametrize(
    "line",
    [
        *(b"1 PING", b"1 CALL a", b"1 LIST", b"1 QUIT", b"GET PING HTTP/1.1", b"1 nosuch"),
        *(b"1 HELLO ESPS/2", b"1 HELLO", b"1 HELLO ESPS/1 x"),
    ],
)
@cases("bulk", [0, 100])
def test_what_is_no_hello_where_one_is_required(line: bytes, bulk: int) -> None:  # ESPS-LINE-23
    server = MemoryServer(bulk=bulk, requires_hello=True)
    server.feed(b"\n" + line + b"\n1 CALL a\n")
    (sent,) = server.sent
    assert sent.args[0] == b"bad-line"
    assert sent.args[1].startswith(REQUIRES_HELLO)
    assert (server.state, server.executed) == (State.ENDED, [])


def test_after_a_hello_that_is_required_all_is_as_usual() -> None:  # ESPS-LINE-23
    server = MemoryServer(requires_hello=True)
    server.feed(b"1 HELLO ESPS/2 ESPS/1\n2 PING\n3 nosuch\n4 PING\n")
    assert server.lines == [b"1 OK ESPS/2 ESPS/1", b"2 OK", b"3 ERR unknown-verb", b"4 OK"]


@pytest.mark.parametrize(
    ("data", "is_at_rest"),
    [
        (b"", True),
        (b"1 PING\n", True),
        (b"1 PING\n2 PI", False),
        (b"1 PING\n2 CALL a\n", False),
        (b"1 CALL a\n2 CANCEL 1\n", True),
        (b"1 PING\n2 QUIT\n", False),
    ],
)
def test_at_rest_nothing_runs_and_nothing_waits(data: bytes, is_at_rest: bool) -> None:
    server = server_after([data] if data else [])
    assert server.connection.is_at_rest == is_at_rest
    server.connection.receive(b"9 PING\n")
    assert not server.connection.is_at_rest, "a line is not read"
