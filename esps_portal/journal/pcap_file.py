"""The file of a capture, written as things happen.

What belongs to one event is one write to an `append_file`. Continuing a capture cuts off an
incomplete last packet, which a process that was killed may have left.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from esps_portal.journal.append_file import (
    AppendFile,
    UnsuitableFileError,
    read_at,
)
from esps_portal.journal.pcap import (
    HEADER_SIZE,
    MAX_PACKET,
    RECORD_HEADER_SIZE,
    Capture,
    Side,
    is_own_header,
    record_size,
)
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class CaptureFile(AppendFile):
    r"""A capture that is being written, for Wireshark. Close it, or use it as a context manager.

    A new file can be read by its owner only, for captures hold passwords. A capture that this class
    wrote is continued, with the mode it has; any other file is refused, and not changed. An error
    while writing is logged, once, and ends the capture; nothing is raised.

    The methods are those of `Capture`: times are seconds since the Unix epoch, a remote is the
    client's numeric address and port.

    Args:
        path: a new file, or a capture to continue.
        upstream: the host and port that the client's packets go to; the host may be a name.

    Raises:
        CannotRecordError: the file cannot be opened, or is not such a capture.

    Example::

        with CaptureFile(Path("redis.pcap"), ("127.0.0.1", 6379)) as file:
            file.opened(1, remote, time.time())
            file.unit(1, remote, "client", b"PING\r\n", time.time())
    """

    def __init__(self, path: Path, upstream: tuple[str, int]) -> None:
        self._capture = Capture(upstream)
        super().__init__(path, "capture", self._begin_capture)

    def _begin_capture(self, file: int, size: int) -> bytes:
        header = self._capture.header()
        found = read_at(file, HEADER_SIZE, 0) if size else b""
        if size < HEADER_SIZE and header.startswith(found):
            return header[size:]
        if not is_own_header(found):
            raise UnsuitableFileError("the file exists and is not a capture by esps-portal")
        _cut_off_incomplete_record(file, size)
        return b""

    def opened(self, connection: int, remote: tuple[str, int], at: float) -> None:
        """Write the handshake of a connection."""
        if self.is_open:
            self.append(self._capture.opened(connection, remote, at))

    def unit(
        self, connection: int, remote: tuple[str, int], sender: Side, data: bytes, at: float
    ) -> None:
        """Write a unit: its segments, and the receiver's acknowledgement."""
        if self.is_open:
            self.append(self._capture.unit(connection, remote, sender, data, at))

    def closed(
        self,
        connection: int,
        remote: tuple[str, int],
        by: Side,
        how: Literal["fin", "rst"],
        at: float,
    ) -> None:
        """Write the end of one direction (``fin``), or of the connection (``rst``)."""
        if self.is_open:
            self.append(self._capture.closed(connection, remote, by, how, at))

    def datagram(self, remote: tuple[str, int], sender: Side, data: bytes, at: float) -> None:
        """Write a datagram."""
        if self.is_open:
            self.append(self._capture.datagram(remote, sender, data, at))


def _cut_off_incomplete_record(file: int, size: int) -> None:
    position = HEADER_SIZE
    while position < size:
        header = read_at(file, RECORD_HEADER_SIZE, position)
        if len(header) < RECORD_HEADER_SIZE:
            break
        length = record_size(header)
        if length > MAX_PACKET:
            raise UnsuitableFileError(f"the capture is damaged at byte {position}")
        if position + RECORD_HEADER_SIZE + length > size:
            break
        position += RECORD_HEADER_SIZE + length
    if position < size:
        os.ftruncate(file, position)
