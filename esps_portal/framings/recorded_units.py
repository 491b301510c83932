"""Frames that are known beforehand: what clients sent in a recording.

A unit ends where the bytes equal a recorded one. If that is also the beginning of a longer one, the
next bytes decide which of the two it is, or a pause does; the caller decides how long the pause is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from esps_portal.framings.framing import Frame, FramingError, checked_frame


class RecordedUnits:
    """The framing of a recording.

    Args:
        units: what clients have sent; an empty one does not count.
    """

    def __init__(self, units: Iterable[bytes]) -> None:
        self.units: frozenset[bytes] = frozenset(units) - {b""}
        self._sorted = sorted(self.units)
        self.lengths: tuple[int, ...] = tuple(sorted(set(map(len, self.units))))
        pairs = zip(self._sorted, self._sorted[1:], strict=False)
        # Each of them is a proper prefix of another one, which comes next in order.
        self.prefixes: frozenset[bytes] = frozenset(a for a, b in pairs if b.startswith(a))

    def begins_longer(self, data: bytes) -> bool:
        """Whether a unit begins with these bytes, and is longer."""
        place = bisect_left(self._sorted, data)
        if place < len(self._sorted) and self._sorted[place] == data:
            place += 1
        return place < len(self._sorted) and self._sorted[place].startswith(data)

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """Return the units at the start of ``buffer`` whose end is known, and what is left."""
        splitter = RecordedUnitSplitter(self)
        frames = splitter.feed(buffer)
        return [frame.payload for frame in frames], splitter.rest

    def join(self, frame: bytes) -> bytes:
        """Return the bytes as they are: replies were recorded as they came."""
        return checked_frame(frame)

    def __repr__(self) -> str:
        return f"<{len(self.units)} recorded units>"


class RecordedUnitSplitter:
    """Splits a stream where recorded units end.

    What begins no unit is one frame, as far as it has come, which no stub will answer.

    Attributes:
        error: never any: no bytes are too long for it.
    """

    __slots__ = ("_buffer", "_longest", "_scanned", "_units", "error")

    def __init__(self, units: RecordedUnits) -> None:
        self._units = units
        self._buffer = bytearray()
        # How many lengths were compared, and the longest unit so far that is a prefix.
        self._scanned = 0
        self._longest = 0
        self.error: FramingError | None = None

    @property
    def rest(self) -> bytes:
        """The bytes whose unit is not known yet."""
        return bytes(self._buffer)

    @property
    def is_waiting(self) -> bool:
        """Whether they are a unit, though a longer one begins so too."""
        return bool(self._buffer) and self._longest == len(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the units that ``data`` completes, in order."""
        self._buffer += data
        found: list[Frame] = []
        while self._buffer and (size := self._next_size()):
            found.append(self._take(size))
        return found

    def flush(self) -> list[Frame]:
        """Return the unit that waits: nothing more has come for a while."""
        return [self._take(len(self._buffer))] if self.is_waiting else []

    def finish(self) -> list[Frame]:
        """Return the unit that the end of the stream completes."""
        return self.flush()

    def _next_size(self) -> int:
        """Return the size of the next unit; 0: not known yet."""
        available = len(self._buffer)
        for length in self._units.lengths[self._scanned :]:
            if length > available:
                break
            self._scanned += 1
            start = bytes(self._buffer[:length])
            if start in self._units.units:
                if start not in self._units.prefixes:
                    return length
                self._longest = length
        if self._units.begins_longer(bytes(self._buffer)):
            return 0
        return self._longest or available

    def _take(self, size: int) -> Frame:
        wire = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._scanned = self._longest = 0
        return Frame(wire, wire)
