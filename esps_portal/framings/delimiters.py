"""Frames that end with certain bytes: lines, and any other delimiter."""

from __future__ import annotations

import abc
from typing import final

import attrs

from esps_portal.framings.framing import BuiltInFraming, FramingError, checked_frame, quoted
from esps_portal.given_numbers import shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_LINE_ENDS = {b"\n": "lf", b"\r\n": "crlf", b"\r": "cr"}


class _DelimiterSearch:
    """Finds the delimiter; a part of it at the end of the bytes is looked at again."""

    __slots__ = ("_delimiter", "_searched")

    def __init__(self, delimiter: bytes) -> None:
        self._delimiter = delimiter
        # How many of the first bytes are known to begin no delimiter.
        self._searched = 0

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        size = len(self._delimiter)
        found = buffer.find(self._delimiter, start + self._searched, stop)
        if found < 0:
            self._searched = max(self._searched, stop - start - size + 1)
            return None
        self._searched = 0
        return found + size


class _EndsWithDelimiter(BuiltInFraming):
    """What `Lines` and `Delimited` share. Stubs see a frame without its delimiter."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def terminator(self) -> bytes:
        """The bytes that end each frame."""

    def new_search(self) -> _DelimiterSearch:
        """Return a search that begins with the first byte of a stream."""
        return _DelimiterSearch(self.terminator)

    def payload_of(self, wire: bytes) -> bytes:
        """Return a frame without its delimiter."""
        return wire[: -len(self.terminator)]

    def join(self, frame: bytes) -> bytes:
        """Return the frame with its delimiter.

        Raises:
            FramingError: the other end would see a delimiter before the frame's end.
        """
        frame = checked_frame(frame)
        wire = frame + self.terminator
        # Not only within the frame: its last bytes and the delimiter's first may be one too.
        if wire.find(self.terminator) != len(frame):
            raise FramingError(
                f"{self}: a frame must not contain its end {self.terminator!r},"
                f" got {quoted(frame)}; write it without"
            )
        return wire


def _line_end(end: object) -> bytes:
    given = end.encode("utf-8", "replace") if isinstance(end, str) else end
    if isinstance(given, bytes) and given in _LINE_ENDS:
        return given
    raise FramingError(
        rf"a line ends with '\n', '\r\n' or '\r',"
        f" got {shown_value(end)}; for another end use delimited()"
    )


def _delimiter(delimiter: object) -> bytes:
    if isinstance(delimiter, bytes) and delimiter:
        return delimiter
    raise FramingError(f"delimiter must be bytes, at least one, got {shown_value(delimiter)}")


@final
@attrs.frozen
class Lines(_EndsWithDelimiter):
    """Made by `lines`."""

    end: bytes = attrs.field(converter=_line_end)

    @property
    def terminator(self) -> bytes:
        """The bytes that end each line."""
        return self.end

    def __str__(self) -> str:
        return f"lines:{_LINE_ENDS[self.end]}"


@final
@attrs.frozen
class Delimited(_EndsWithDelimiter):
    """Made by `delimited`."""

    delimiter: bytes = attrs.field(converter=_delimiter)

    @property
    def terminator(self) -> bytes:
        """The bytes that end each frame."""
        return self.delimiter

    def __str__(self) -> str:
        return f"delimited:{self.delimiter.hex()}"


def lines(end: str | bytes = "\n") -> Lines:
    r"""Each line is a frame; stubs see it without its end.

    Example: ``lines("\r\n").split(b"NOOP\r\nQU")`` is ``([b"NOOP"], b"QU")``.

    ``"\r\n"``: SMTP (RFC 5321, section 2.3.8), FTP (RFC 959), POP3 (RFC 1939), IRC (RFC 2812), the
    simple types of RESP (Redis), the commands of memcached. ``"\n"``: graphite, statsd and NMEA
    gateways, JSON lines. Only exactly this end ends a line: with ``"\n"`` a CR before it is part of
    the frame, and with ``"\r\n"`` an LF alone is.

    Args:
        end: ``"\n"`` (the default), ``"\r\n"`` or ``"\r"``.

    Raises:
        FramingError: another end.
    """
    return Lines(end)


def delimited(delimiter: bytes) -> Delimited:
    r"""Each frame ends with these bytes; stubs see it without them.

    Example: ``delimited(b"\0").split(b"{}\0{")`` is ``([b"{}"], b"{")``.

    Used by STOMP (a NUL), HL7 over MLLP (``b"\x1c\r"``), NETCONF over SSH (``b"]]>]]>"``, RFC 6242,
    section 4.3), syslog over TCP with a trailer (RFC 6587, section 3.4.2).

    Args:
        delimiter: at least one byte.

    Raises:
        FramingError: it is empty, or not bytes.
    """
    return Delimited(delimiter)
