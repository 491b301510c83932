"""A tap: which reply belongs to which request, whatever a proxy relays."""

from __future__ import annotations

import itertools
import logging

import pytest

from esps_portal.journal import tap as tap_module
from esps_portal.journal.journal import Journal
from esps_portal.journal.tap import DatagramTap, StreamTap

PEER = ("127.0.0.1", 5000)


class Stream:
    """A tap and its journal."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.tap = StreamTap(self.journal, PEER, 0)

    def client(self, data: bytes) -> None:
        self.tap.from_client(data, 1)

    def portal(self, data: bytes) -> None:
        self.tap.from_server(data, 2)

    def close(self) -> list[tuple[str, str, bytes]]:
        self.tap.closed("client", "fin", 3)
        return self.calls()

    def calls(self) -> list[tuple[str, str, bytes]]:
        return [(call.tag, call.state, call.sent) for call in self.journal.calls]


def test_replies_in_any_order() -> None:
    stream = Stream()
    stream.portal(b"* ESPS/1 test/1\n")
    stream.client(b"a CALL drip 2 0\nb PING\r\n\n\r\nc CALL fail x-no\n")
    stream.portal(b"a DATA 1\nb OK\nc ERR x-no\na DATA 2\na OK\n* BYE closing\n")
    assert stream.close() == [
        ("a", "replied", b"a DATA 1\na DATA 2\na OK\n"),
        ("b", "replied", b"b OK\n"),
        ("c", "replied", b"c ERR x-no\n"),
    ]
    (connection,) = stream.journal.connections
    assert (connection.requests, connection.closed_by, connection.how) == (3, "client", "fin")


def test_in_any_pieces() -> None:
    asked, answered = b"a CALL echo 1\nb PING\n", b"* ESPS/1 x\na DATA 1\na OK 1\nb OK\n"
    at_once = Stream()
    at_once.client(asked)
    at_once.portal(answered)
    pieces = Stream()
    for byte in asked:
        pieces.client(bytes((byte,)))
    for byte in answered:
        pieces.portal(bytes((byte,)))
    assert pieces.close() == at_once.close()


@pytest.mark.parametrize(
    ("requests", "replies", "calls"),
    [
        pytest.param(
            b"a  PING\n\xff\x00\nb PING\n",
            b"a ERR bad-line\n* ERR bad-line\nb OK\n",
            [
                ("a", "replied", b"a ERR bad-line\n"),
                ("", "replied", b"* ERR bad-line\n"),
                ("b", "replied", b"b OK\n"),
            ],
            id="lines that are not requests",
        ),
        pytest.param(
            b"a CALL delay 10\na PING\n",
            b"* ERR tag-in-use a\na OK\n",
            [("a", "replied", b"a OK\n"), ("a", "replied", b"* ERR tag-in-use a\n")],
            id="a tag in use",
        ),
        pytest.param(
            b"a CALL count\na CALL count\n",
            b"a OK 1\na OK 2\n",
            [("a", "replied", b"a OK 1\n"), ("a", "replied", b"a OK 2\n")],
            id="a tag that is used again before its reply has come",
        ),
        pytest.param(
            b"a CALL stall\nb CALL delay 9\nc CANCEL b\nd CALL drip 9 9\ne PI",
            b"b ERR cancelled\nc OK\nd DATA 1\n",
            [
                ("a", "aborted", b""),
                ("b", "aborted", b"b ERR cancelled\n"),
                ("c", "replied", b"c OK\n"),
                ("d", "aborted", b"d DATA 1\n"),
            ],
            id="requests without a reply",
        ),
        pytest.param(
            b"a PING\n",
            b"z OK\n\xff\xfe\n* ERR bad-line\n* ERR tag-in-use z\nnonsense\na OK\n",
            [("a", "replied", b"a OK\n")],
            id="lines that are not replies",
        ),
    ],
)
def test_each_request_has_its_reply(
    requests: bytes, replies: bytes, calls: list[tuple[str, str, bytes]]
) -> None:
    stream = Stream()
    stream.client(requests)
    stream.portal(replies)
    assert stream.close() == calls


def test_a_line_that_is_too_long_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "_MAX_LINE", 100)
    stream = Stream()
    stream.client(b"a PING %b\nb PING\nc PING\n" % (b"x" * 200))
    stream.portal(b"a ERR too-long\nb OK %b\nc OK\n" % (b"x" * 200))
    first, second, third = stream.close()
    assert first[1:] == ("replied", b"a ERR too-long\n")
    assert second == ("b", "aborted", b"")
    assert third == ("c", "replied", b"c OK\n")
    assert stream.journal.calls[0].data.endswith(b"(too long)")


@pytest.mark.parametrize("whose", ["requests", "answers"])
def test_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, whose: str
) -> None:
    monkeypatch.setattr(tap_module, "_MAX_HELD", 10_000)
    stream = Stream()
    stream.client(b"a CALL chargen 1000\n")
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            if whose == "requests":
                stream.client(b"b PING\n")
            else:
                stream.portal(b"a DATA x\n")
    assert caplog.messages == [
        "connection 1: too many requests wait for replies; it is no longer recorded"
    ]
    stream.portal(b"a OK\n")
    assert {state for _, state, _ in stream.close()} == {"aborted"}


def test_answered_requests_take_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "_MAX_HELD", 10_000)
    stream = Stream()
    for _ in range(1000):
        stream.client(b"a CALL chargen 2\n\xff\n")
        stream.portal(b"a DATA x\na DATA y\na OK\n* ERR bad-line\n")
    assert {state for _, state, _ in stream.close()} == {"replied"}


# ---- datagrams ---------------------------------------------------------------------------------


class Datagrams:
    """A tap and its journal."""

    def __init__(self) -> None:
        self.journal = Journal()
        self.tap = DatagramTap(self.journal, PEER, window=60)
        self.now = itertools.count()

    def client(self, datagram: bytes) -> None:
        self.tap.from_client(datagram, next(self.now))

    def portal(self, datagram: bytes) -> None:
        self.tap.from_server(datagram, next(self.now))

    def calls(self) -> list[tuple[str, str, bytes]]:
        return [(call.tag, call.state, call.sent) for call in self.journal.calls]


def test_a_datagram_and_its_reply() -> None:
    udp = Datagrams()
    udp.client(b"a CALL drip 1 0 ####\n")
    assert udp.tap.is_waiting
    udp.portal(b"a DATA 1\na OK\n")
    assert not udp.tap.is_waiting
    assert udp.calls() == [("a", "replied", b"a DATA 1\na OK\n")]
    assert udp.journal.calls[0].transport == "udp"


def test_a_repeat_is_no_call() -> None:
    udp = Datagrams()
    udp.client(b"a CALL count\n")
    udp.client(b"a CALL count ##\n")
    udp.portal(b"a OK 1\n")
    udp.portal(b"a OK 1\n")
    udp.client(b"a CALL count\n")
    udp.portal(b"a OK 1\n")
    assert [state for _, state, _ in udp.calls()] == ["replied", "replayed", "replayed"]
    udp.client(b"a CALL count other\n")
    udp.portal(b"* ERR tag-in-use a\n")
    assert udp.calls()[-1] == ("a", "replied", b"* ERR tag-in-use a\n")


def test_a_udp_tag_in_use() -> None:
    udp = Datagrams()
    udp.client(b"a CALL delay 9\n")
    udp.client(b"a CALL count\n")
    udp.portal(b"* ERR tag-in-use a\n")
    udp.portal(b"a OK\n")
    assert [sent for *_, sent in udp.calls()] == [b"a OK\n", b"* ERR tag-in-use a\n"]


def test_the_end_of_recording_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tap_module, "_MAX_HELD", 2000)
    stream = Stream()
    stream.client(b"a PING\n" * 100)
    stream.client(b"b PING\n" * 100)
    stream.portal(b"a OK\n" * 100)
    assert len(caplog.records) == 1
    assert {state for _, state, _ in stream.close()} == {"aborted"}


def test_datagrams_that_are_no_requests() -> None:
    udp = Datagrams()
    for datagram in (b"", b"\n", b"\xff\n", b"a PING", b"b  PING\n"):
        udp.client(datagram)
    for datagram in (b"", b"a OK", b"\xff\n", b"* BYE idle\n", b"z OK\n"):
        udp.portal(datagram)
    udp.portal(b"a ERR bad-line\n")
    udp.portal(b"b ERR bad-line\n")
    assert [state for _, state, _ in udp.calls()] == ["aborted"] * 3 + ["replied"] * 2


def test_requests_without_a_reply_are_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    udp = Datagrams()
    udp.client(b"a PING\n")
    udp.tap.from_client(b"b PING\n", 100)
    assert [state for _, state, _ in udp.calls()] == ["aborted", "received"]
    monkeypatch.setattr(tap_module, "_MAX_PENDING", 3)
    for number in range(10):
        udp.tap.from_client(b"c%d PING\n" % number, 100)
    assert [state for _, state, _ in udp.calls()][-3:] == ["received"] * 3
    udp.tap.give_up(101)
    assert {state for _, state, _ in udp.calls()} == {"aborted"}
    assert not udp.tap.is_waiting


def test_the_last_answered_requests_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "_MAX_ANSWERED", 2)
    udp = Datagrams()
    for tag in (b"a", b"b", b"c", b"a", b"c"):
        udp.client(tag + b" PING\n")
        udp.portal(tag + b" OK\n")
    assert [state for _, state, _ in udp.calls()] == ["replied"] * 4 + ["replayed"]
