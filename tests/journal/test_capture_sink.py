"""What a journal notes, as packets of a capture."""

from __future__ import annotations

from pathlib import Path

import pytest

from esps_portal.journal.append_file import CannotRecordError
from esps_portal.journal.capture_sink import CaptureSink
from esps_portal.journal.journal import Journal
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import MAX_SIDE, REPLIED
from tests.journal.packets import read_capture, read_streams

UPSTREAM = ("192.0.2.1", 6379)
REMOTE = ("192.0.2.7", 50_001)
# Seconds since the epoch when the journal starts, and on its own clock.
STARTED, CLOCK = 1_700_000_000.0, 77.0


def note(journal: Journal, transport: str, *said: tuple[str, bytes], ends: tuple[str, str]) -> None:
    """Have a connection with one exchange in the journal; each thing is said a second later."""
    connection = journal.opened(REMOTE, CLOCK)
    exchange = journal.began(transport, REMOTE, connection, 1, CLOCK + 1)
    for number, (sender, data) in enumerate(said, 1):
        journal.sent(exchange, sender, data, CLOCK + number, is_whole=transport == "udp")
    journal.exchange_ended(exchange, CLOCK + 8, complete=True)
    if transport == "tcp":
        journal.closed(connection, *ends, CLOCK + 9)


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        (("client", "fin"), [("client", "fin"), ("server", "fin")]),
        (("server", "fin"), [("server", "fin"), ("client", "fin")]),
        (("proxy", "rst"), [("server", "rst")]),
        (("client", "rst"), [("client", "rst")]),
    ],
)
def test_a_connection(tmp_path: Path, ends: tuple[str, str], seen: list[tuple[str, str]]) -> None:
    path = tmp_path / "redis.pcap"
    journal = Journal()
    journal.start = CLOCK
    reply = bytes(2 * MAX_SIDE + 1)
    with CaptureFile(path, UPSTREAM) as file:
        CaptureSink(file, journal, STARTED - CLOCK).attach(journal)
        note(journal, "tcp", ("client", b"PING\r\n"), ("server", reply), ends=ends)
    packets = read_capture(path.read_bytes())
    (stream,) = read_streams(packets)
    assert (stream.client, stream.server) == (REMOTE, UPSTREAM)
    assert stream.said() == (b"PING\r\n", reply)
    assert stream.ended == seen
    seconds = [packet.seconds - STARTED for packet in packets if packet.data]
    assert (seconds[0], seconds[-1]) == (1, 2)


def test_connections_that_are_open_begin_with_it_and_nothing_is_earlier(tmp_path: Path) -> None:
    """It is continued on a connection that was open before; the first capture came between."""
    path = tmp_path / "redis.pcap"
    journal = Journal()
    journal.start = CLOCK
    connection = journal.opened(REMOTE, CLOCK)
    exchange = journal.began("tcp", REMOTE, connection, 1, CLOCK + 1)
    for begins in (CLOCK + 10, CLOCK + 20):
        with CaptureFile(path, UPSTREAM) as file:
            sink = CaptureSink(file, journal, STARTED - CLOCK, begins)
            journal.sent(exchange, "client", b"before it began", begins - 1)
            sink.attach(journal)
            journal.sent(exchange, "client", b"1", begins + 1)
            sink.detach()
    packets = read_capture(path.read_bytes())
    seconds = [packet.seconds - STARTED for packet in packets]
    assert seconds == sorted(seconds)
    assert {seconds[0], seconds[-1]} == {10, 21}
    assert [packet.data for packet in packets if packet.data] == [b"1", b"1"]


def test_what_several_connections_say_is_in_time_order(tmp_path: Path) -> None:
    """Though of a unit nobody knows yet that it has ended."""
    path = tmp_path / "redis.pcap"
    journal = Journal()
    with CaptureFile(path, UPSTREAM) as file:
        CaptureSink(file, journal, STARTED).attach(journal)
        one, other = (journal.opened((REMOTE[0], port), 0.0) for port in (50_001, 50_002))
        first = journal.began("tcp", one.remote, one, 1, 1.0)
        second = journal.began("tcp", other.remote, other, 1, 2.0)
        said = [(first, b"1"), (second, b"2"), (first, b"3"), (second, b"4")]
        for number, (exchange, data) in enumerate(said, 1):
            journal.sent(exchange, "client", data, float(number))
        journal.closed(other, "client", "fin", 5.0)
        journal.sent(first, "server", b"5", 6.0)
    found = [(p.seconds - STARTED, p.data) for p in read_capture(path.read_bytes()) if p.data]
    assert found == [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4"), (6, b"5")]


def test_each_datagram_is_one(tmp_path: Path) -> None:
    """Also those that answer the same request."""
    path = tmp_path / "dns.pcap"
    journal = Journal()
    with CaptureFile(path, UPSTREAM) as file:
        CaptureSink(file, journal, STARTED).attach(journal)
        note(journal, "udp", ("client", b"q"), ("server", b"a"), ("server", b""), ends=("", ""))
    datagrams = [packet for packet in read_capture(path.read_bytes()) if packet.protocol == "udp"]
    assert [(packet.source, packet.data) for packet in datagrams] == [
        (REMOTE, b"q"),
        (UPSTREAM, b"a"),
        (UPSTREAM, b""),
    ]


def test_calls_of_a_portal_are_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / "calls.pcap"
    journal = Journal()
    with CaptureFile(path, UPSTREAM) as file:
        CaptureSink(file, journal, STARTED).attach(journal)
        journal.ended(journal.received("tcp", REMOTE, None, b"a", None, 1), REPLIED, b"b", 2)
    assert read_capture(path.read_bytes()) == []


def test_a_renamed_file_is_continued_in_a_new_one(tmp_path: Path) -> None:
    path, old = tmp_path / "redis.pcap", tmp_path / "redis.pcap.1"
    journal = Journal()
    with CaptureFile(path, UPSTREAM) as file:
        CaptureSink(file, journal, STARTED).attach(journal)
        note(journal, "tcp", ("client", b"1"), ends=("client", "fin"))
        path.rename(old)
        file.reopen()
        note(journal, "tcp", ("client", b"2"), ends=("client", "fin"))
        file.reopen()  # nothing was renamed
        note(journal, "tcp", ("client", b"3"), ends=("client", "fin"))
        path.write_bytes(b"")
        file.reopen()
        note(journal, "tcp", ("client", b"4"), ends=("client", "fin"))
        found = [
            [stream.said()[0] for stream in read_streams(read_capture(capture.read_bytes()))]
            for capture in (old, path)
        ]
        assert found == [[b"1"], [b"4"]]
        path.unlink()
        path.mkdir()
        with pytest.raises(CannotRecordError):
            file.reopen()
        assert file.is_open
