"""The file of a capture: its mode, continuing, and errors."""

from __future__ import annotations

import logging
import os
import stat
import struct
from pathlib import Path

import pytest

from esps_portal.journal.append_file import CannotRecordError
from esps_portal.journal.pcap import Capture
from esps_portal.journal.pcap_file import CaptureFile
from tests.journal.files import largest_file
from tests.journal.packets import read_capture, read_streams

UPSTREAM = ("127.0.0.1", 6379)
REMOTE = ("127.0.0.1", 50_001)
HEADER = Capture(UPSTREAM).header()


def capture(path: Path, *units: bytes, at: float = 1000.0) -> None:
    """Capture a connection that sends these units."""
    with CaptureFile(path, UPSTREAM) as file:
        file.opened(1, REMOTE, at)
        for unit in units:
            file.unit(1, REMOTE, "client", unit, at)
        file.closed(1, REMOTE, "client", "rst", at)


def said(path: Path) -> list[bytes]:
    """Return what the client of each connection sent."""
    return [stream.said()[0] for stream in read_streams(read_capture(path.read_bytes()))]


def test_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    with CaptureFile(path, UPSTREAM) as file:
        file.opened(1, REMOTE, 1000.0)
        file.unit(1, REMOTE, "client", b"PING\r\n", 1000.0)
        file.unit(1, REMOTE, "server", b"+PONG\r\n", 1000.5)
        file.closed(1, REMOTE, "server", "fin", 1001.0)
        file.datagram(REMOTE, "client", b"hello", 1001.0)
        # Each event is in the file at once.
        *packets, datagram = read_capture(path.read_bytes())
    (stream,) = read_streams(packets)
    assert stream.said() == (b"PING\r\n", b"+PONG\r\n")
    assert stream.ended == [("server", "fin")]
    assert (datagram.protocol, datagram.data) == ("udp", b"hello")


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    file = CaptureFile(path, UPSTREAM)
    assert file.is_open
    file.close()
    file.close()
    file.opened(1, REMOTE, 1000.0)
    file.unit(1, REMOTE, "client", b"PING\r\n", 1000.0)
    file.closed(1, REMOTE, "client", "fin", 1000.0)
    file.datagram(REMOTE, "client", b"hello", 1000.0)
    assert not file.is_open
    assert path.read_bytes() == HEADER


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    before = os.umask(0)
    try:
        capture(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# ---- continued ---------------------------------------------------------------------------------


def test_a_capture_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    capture(path, b"one", at=1000.0)
    capture(path, b"two", at=2000.0)
    assert said(path) == [b"one", b"two"]


@pytest.mark.parametrize("length", [0, 1, 23])
def test_an_incomplete_header_is_completed(tmp_path: Path, length: int) -> None:
    path = tmp_path / "redis.pcap"
    path.write_bytes(HEADER[:length])
    capture(path, b"one")
    assert said(path) == [b"one"]


def test_an_incomplete_last_packet_is_cut_off(tmp_path: Path) -> None:
    whole = tmp_path / "whole.pcap"
    capture(whole, b"one")
    complete = whole.read_bytes()
    packet = Capture(UPSTREAM).datagram(REMOTE, "client", b"incomplete", 1500.0)
    for length in range(len(packet)):
        path = tmp_path / f"{length}.pcap"
        path.write_bytes(complete + packet[:length])
        CaptureFile(path, UPSTREAM).close()
        assert path.read_bytes() == complete


# A capture of Ethernet, as tcpdump writes it.
ETHERNET = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)


@pytest.mark.parametrize(
    "content",
    [b"my thesis\n", b"my thesis, of more than 24 bytes\n", ETHERNET, HEADER[::-1]],
)
def test_a_file_that_is_no_capture_is_not_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(CannotRecordError) as raised:
        CaptureFile(path, UPSTREAM)
    reason = "the file exists and is not a capture by esps-portal"
    assert str(raised.value) == f"cannot record to {path}: {reason}"
    assert path.read_bytes() == content


def test_a_damaged_capture_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    capture(path, b"one")
    end = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"my thesis, of more than 16 bytes\n")
    damaged = path.read_bytes()
    with pytest.raises(CannotRecordError, match=f"the capture is damaged at byte {end}$"):
        CaptureFile(path, UPSTREAM)
    assert path.read_bytes() == damaged


# ---- errors ------------------------------------------------------------------------------------


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    path = tmp_path / "redis.pcap"
    with (
        CaptureFile(path, UPSTREAM),
        pytest.raises(CannotRecordError, match="this process or another one records to it already"),
    ):
        CaptureFile(path, UPSTREAM)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/full", "No space left on device"),
        ("/dev", "Is a directory"),
        ("/nowhere/redis.pcap", "No such file or directory"),
    ],
)
def test_an_unusable_path_is_refused_at_once(path: str, reason: str) -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(CannotRecordError) as raised:
        CaptureFile(Path(path), UPSTREAM)
    assert str(raised.value) == f"cannot record to {path}: {reason}"
    assert sorted(Path("/proc/self/fd").iterdir()) == before


def test_a_full_disk_ends_the_capture_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "redis.pcap"
    units = [b"%d" % number for number in range(100)]
    incomplete = pytest.raises(CannotRecordError, match="the capture is not complete")
    with caplog.at_level(logging.ERROR), largest_file(1000), incomplete:
        capture(path, *units)
    assert caplog.messages == [f"the capture to {path} has ended: File too large"]
    assert path.stat().st_size == 1000
    # What is there can be continued.
    CaptureFile(path, UPSTREAM).close()
    (sent,) = said(path)
    assert sent
    assert b"".join(units).startswith(sent)
