"""Lines are taken one at a time or in bulk, and are the same lines."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.lines import EMPTY_LINES, LineEvent, LineSplitter
from esps_portal.protocol.messages import parse_request_untrusted
from esps_portal.protocol.received_lines import (
    ReceivedLines,
    plain_to_line,
    plain_to_request,
)
from tests.protocol.strategies import byte_by_byte, cut, noise, places, requests

MAX_LINE = 512
#: Lines of every kind, and more of them than are looked through at once.
many_lines = st.lists(
    noise.map(lambda text: text + b"\n") | requests.map(lambda request: request.encode()),
    max_size=12,
).map(b"".join) | st.sampled_from([b"1 PING\n", b"@\n", b"\r\n", b"1 CALL echo a b\n"]).map(
    lambda line: line * 700
)


def split(pieces: list[bytes]) -> list[LineEvent]:
    """Return what a splitter reports, but for empty lines."""
    splitter = LineSplitter(MAX_LINE, 2 * MAX_LINE)
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return whole(events)


def whole(events: list[LineEvent]) -> list[LineEvent]:
    return [event for event in events if event not in EMPTY_LINES]


def taken(pieces: list[bytes], limit: int) -> list[LineEvent]:
    """Return the lines as they are taken: plain requests at most ``limit`` at a time."""
    splitter, received = LineSplitter(MAX_LINE, 2 * MAX_LINE), ReceivedLines()
    lines: list[LineEvent] = []
    for piece in pieces:
        received.add(splitter.feed_blocks(piece))
        while received:
            plain = received.peek_plain(limit)
            assert len(plain) <= limit
            text = b"".join(plain_to_line(request) + b"\n" for request in plain)
            assert received.text_of(len(plain)) == text
            for request in plain:
                line = plain_to_line(request)
                assert parse_request_untrusted(line) == plain_to_request(request)
                found = plain_to_request(request)
                assert (found.plain, found.length) == (True, len(line + b"\n"))
                lines.append(line)
            received.skip(len(plain))
            if not plain:
                lines.append(next(received))
    assert next(received, None) is None
    return whole(lines)


@given(many_lines, places, st.integers(0, 5) | st.just(1000))
@example(b"a PING\n\n\r\n\nb PING\r\n\r\r\n", [], 5)
@example(b"x" * 600 + b"\n" + b"a PING\n" * 400, [300, 700], 100)
def test_lines_are_the_same_however_they_are_taken(data: bytes, at: list[int], limit: int) -> None:
    # ESPS-LINE-10
    for pieces in ([data], cut(data, at), byte_by_byte(data)):
        assert taken(pieces, limit) == split(pieces)


@given(st.lists(noise | requests.map(lambda request: request.encode()[:-1]), max_size=6))
def test_only_usual_requests_that_need_no_decoding_are_plain(lines: list[bytes]) -> None:
    for text in lines:
        received = ReceivedLines()
        received.add([text.replace(b"\n", b"") + b"\n"])
        plain = received.peek_plain(1)
        line = next(received)
        assert isinstance(line, bytes)
        try:
            request = parse_request_untrusted(line)
        except ProtocolError:
            assert not plain
            continue
        is_bare = request.plain and b"#" not in line
        if plain:
            assert is_bare
            assert request.verb in (b"PING", b"CALL")
        elif is_bare:
            assert request.verb != b"PING"


def test_a_request_may_end_in_cr_lf() -> None:
    # ESPS-LINE-4
    received = ReceivedLines()
    received.add([b"1 PING\r\n2 CALL echo hi\r\n3 CALL echo hi\r\r\n"])
    requests = received.peek_plain(9)
    assert requests == [(b"1", b"", b"", b"\r", b""), (b"2", b"echo", b" hi", b"\r", b"")]
    assert [plain_to_line(request) for request in requests] == [b"1 PING\r", b"2 CALL echo hi\r"]
    received.skip(2)
    assert list(received) == [b"3 CALL echo hi\r\r"]


def test_what_is_peeked_at_stays() -> None:
    received = ReceivedLines()
    received.add([b"1 PING\n2 CALL echo hi\n3 CALL stop\n4 LIST\n"])
    echo = (b"2", b"echo", b" hi", b"", b"")
    assert received.peek_plain(2) == received.peek_plain(2) == [(b"1", b"", b"", b"", b""), echo]
    received.skip(1)
    assert received.peek_plain(5) == [echo, (b"3", b"stop", b"", b"", b"")]
    received.skip(1)
    assert next(received) == b"3 CALL stop"
    assert received
    assert received.peek_plain(5) == []
    assert next(received) == b"4 LIST"
    assert not received
    assert received.peek_plain(5) == []


@pytest.mark.parametrize("empty", [b"\n", b"\r\n", b"\n\r\n"])
def test_empty_lines_are_nearly_free(empty: bytes) -> None:
    # ESPS-LINE-10: 64 KiB of them, in reads of 16 KiB, are no more lines than 64 others
    splitter, received = LineSplitter(8192, 65536), ReceivedLines()
    for _ in range(4):
        received.add(splitter.feed_blocks(empty * (16384 // len(empty))))
    assert len(list(received)) <= 64


def test_what_waits_is_counted_but_for_a_piece() -> None:
    line = b"1 CALL echo hi\n"
    received = ReceivedLines()
    received.add([line * 10])
    assert received.buffered == 0
    received.add([line * 1000])
    assert received.buffered == 1000 * len(line)
    received.skip(10)
    left = received.buffered
    assert 0 < left < 1000 * len(line)
    received.add([line])
    assert received.buffered == left + len(line)
    while received:
        received.skip(len(received.peek_plain(2000)))
    assert received.buffered == 0


@pytest.mark.parametrize("count", [1, 1000])
def test_a_block_of_whole_lines(count: int) -> None:
    received = ReceivedLines()
    received.add_block(b"1 PING\n" * count)
    assert list(received) == [b"1 PING"] * count


def test_a_line_that_is_put_back_comes_next() -> None:
    received = ReceivedLines()
    received.add_block(b"1 PING\n2 LIST\n3 PING\n")
    assert next(received) == b"1 PING"
    line = next(received)
    received.unread(line)
    assert received.peek_plain(9) == []
    assert list(received) == [b"2 LIST", b"3 PING"]
