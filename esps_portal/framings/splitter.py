"""Reads a stream of bytes as frames, however it was cut, in bounded memory.

No byte is lost, added or changed: the wire bytes of all frames, and then what is left, are the
bytes that arrived. Where a frame ends, and after which byte that is known, depends on the bytes
alone, not on the pieces in which they arrived.
"""

from __future__ import annotations

from typing import Protocol

from esps_portal.framings.custom import CustomReader, checked_framing
from esps_portal.framings.delimiters import Delimited, Lines
from esps_portal.framings.framing import (
    BuiltInFraming,
    Frame,
    Framing,
    FramingError,
    checked_integer,
    framing_name,
)
from esps_portal.framings.patterns import Matching
from esps_portal.framings.sizes import Fixed, LengthPrefixed
from esps_portal.framings.transport_ends import Datagrams, UntilClose
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# A subclass may override `split`, so it is read as a user's own framing.
_BUILT_IN = (Lines, Delimited, LengthPrefixed, Fixed, Datagrams, UntilClose, Matching)


class _Reader(Protocol):
    def read(self, buffer: bytearray, start: int) -> list[Frame]:
        """Return the next frames, which begin at ``start``; none if none is whole."""
        ...


class _BuiltInReader:
    __slots__ = ("_framing", "_max_frame", "_search")

    def __init__(self, framing: BuiltInFraming, max_frame: int) -> None:
        self._framing = framing
        self._max_frame = max_frame
        self._search = framing.new_search()

    def read(self, buffer: bytearray, start: int) -> list[Frame]:
        # One byte more shows that a frame is too long, and nothing after it matters.
        stop = min(len(buffer), start + self._max_frame + 1)
        end = self._search.find_end(buffer, start, stop)
        if end is None:
            return []
        if end - start > self._max_frame:
            raise _too_long(self._framing, self._max_frame)
        if end > stop:
            return []
        wire = bytes(buffer[start:end])
        return [Frame(self._framing.payload_of(wire), wire)]


def _too_long(framing: Framing, max_frame: int) -> FramingError:
    return FramingError(
        f"{framing_name(framing)!r}: a frame is longer than max_frame, {max_frame} bytes"
    )


class FrameSplitter:
    r"""Splits a stream of bytes into frames.

    With the framings of this package all work together is about linear in the bytes, whatever their
    pieces (`matching` names its exceptions). A user's object is asked about the whole unfinished
    frame each time that bytes come, so a long frame that comes byte by byte costs the square of its
    length. In memory it holds at most ``max_frame`` bytes, and the last piece that it was fed.

    Over UDP a datagram is the unit: only `datagrams` is meant for it.

    Example::

        splitter = FrameSplitter(lines("\r\n"))
        splitter.feed(b"NOOP\r\nQU")  # [Frame(payload=b"NOOP", wire=b"NOOP\r\n")]
        splitter.rest  # b"QU"

    Args:
        framing: one of this package, or any object with its two methods.
        max_frame: the longest frame in bytes, with its delimiter or length field; 1 MiB by default.

    Raises:
        FramingError: the framing lacks a method, or ``max_frame`` is not a positive integer.
    """

    __slots__ = ("_buffer", "_error", "_framing", "_max_frame", "_reader")

    def __init__(self, framing: Framing, max_frame: int = 1 << 20) -> None:
        self._framing = checked_framing(framing)
        self._max_frame = checked_integer("max_frame", max_frame, 1, (1 << 31) - 1)
        self._buffer = bytearray()
        self._error: FramingError | None = None
        self._reader: _Reader
        if type(framing) in _BUILT_IN and isinstance(framing, BuiltInFraming):
            self._reader = _BuiltInReader(framing, max_frame)
        else:
            self._reader = CustomReader(framing, max_frame)

    @property
    def framing(self) -> Framing:
        """How this stream is framed."""
        return self._framing

    @property
    def rest(self) -> bytes:
        """The bytes that are not a whole frame yet; after an error, those that are not a frame."""
        return bytes(self._buffer)

    @property
    def error(self) -> FramingError | None:
        """Why no more frames come; ``None`` as long as they may.

        Where frames came before the error in the same bytes, `feed` returns them and this alone
        shows the error until the next call raises it.
        """
        return self._error

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that ``data`` completes, in order.

        Raises:
            FramingError: what follows is not a frame, or a frame is longer than ``max_frame``. The
                bytes are in `rest`; of those that are fed later none are taken.
        """
        if self._error is not None:
            raise self._error
        if isinstance(self._framing, Datagrams) and not data:
            return [Frame(b"", b"")]
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        try:
            while start < len(self._buffer) and (found := self._reader.read(self._buffer, start)):
                frames += found
                start += sum(len(frame.wire) for frame in found)
            if len(self._buffer) - start > self._max_frame:
                raise _too_long(self._framing, self._max_frame)
        except FramingError as error:
            self._error = error
        # Once for all frames, which costs less than once for each.
        if start:
            del self._buffer[:start]
        if self._error is not None and not frames:
            raise self._error
        return frames

    def finish(self) -> list[Frame]:
        """Return the frame that the end of the stream completes: with `until_close`, all bytes.

        Otherwise there is none, and `rest` is not a frame.

        Raises:
            FramingError: as `feed`, if it has not been raised yet or again.
        """
        if self._error is not None:
            raise self._error
        if not isinstance(self._framing, UntilClose) or not self._buffer:
            return []
        wire = bytes(self._buffer)
        self._buffer.clear()
        return [Frame(wire, wire)]
