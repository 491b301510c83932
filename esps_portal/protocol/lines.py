"""Bytes in any pieces to lines, in bounded memory.

LF is the only terminator, so no two parsers can disagree about where a line ends. Nothing is
trimmed or folded here; a CR before the LF stays on the line, for the grammar to judge.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

# A tag is at most 32 octets (spec, Grammar); with the SP behind it, it is what an answer needs. One
# octet more, so that a CR there does not look like the end of the line.
_HEAD = 34
# SP, an HTTP version and a CR.
_TAIL = len(b" HTTP/1.1\r")


@attrs.frozen
class TooLong:
    """A line that went over the limit. It is reported once; the rest of it is skipped.

    Attributes:
        head: the first bytes of it, enough to read its tag.
    """

    head: bytes


@attrs.frozen
class Skipped:
    """The over-long line that was reported before has ended.

    Attributes:
        tail: its last bytes, enough to see an HTTP version there.
    """

    tail: bytes


@attrs.frozen
class Unterminated:
    """More bytes without an LF than are allowed: the connection ends."""


LineEvent = bytes | TooLong | Skipped | Unterminated


class LineSplitter:
    """Splits what is fed to it at each LF.

    Args:
        max_line: longest line in bytes, its LF included.
        max_unterminated: bytes without an LF after which `Unterminated` is reported, once.
    """

    __slots__ = ("_max_line", "_max_unterminated", "_pending", "_skipped", "_tail")

    def __init__(self, max_line: int, max_unterminated: int) -> None:
        self._max_line = max_line
        self._max_unterminated = max_unterminated
        self._pending = b""
        # Bytes of the over-long line so far; 0 while no line is being skipped.
        self._skipped = 0
        self._tail = b""

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished line are held."""
        return len(self._pending)

    @property
    def is_within_line(self) -> bool:
        """Whether a line has begun and not ended; it may be one that is skipped."""
        return bool(self._pending or self._skipped)

    def feed(self, data: bytes) -> Sequence[LineEvent]:
        """Return what ``data`` completes, in order: lines without their LF, and what went wrong."""
        if self._skipped:
            return self._feed_with_care(data)
        pieces = data.split(b"\n")
        if self._pending:
            pieces[0] = self._pending + pieces[0]
        # Together not over the limit, none is; only otherwise each is measured.
        together = len(self._pending) + len(data)
        if together > self._max_line and max(map(len, pieces)) >= self._max_line:
            return self._feed_with_care(data)
        self._pending = pieces.pop()
        return pieces

    def _feed_with_care(self, data: bytes) -> list[LineEvent]:
        """Do the same where a line may be too long: each piece is measured."""
        found: list[LineEvent] = []
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece, found)
            if self._skipped:
                self._skipped = 0
                found.append(Skipped(self._tail))
            elif len(self._pending) < self._max_line:
                found.append(self._pending)
            else:
                found += [TooLong(self._pending[:_HEAD]), Skipped(self._pending[-_TAIL:])]
            self._pending = b""
        self._add(rest, found)
        return found

    def _add(self, piece: bytes, found: list[LineEvent]) -> None:
        """Add to the unfinished line; from the first excess byte on, only count."""
        before = self._skipped
        if not before:
            self._pending += piece
            if len(self._pending) <= self._max_line:
                return
            self._skipped = len(self._pending)
            found.append(TooLong(self._pending[:_HEAD]))
            self._tail = self._pending[-_TAIL:]
            self._pending = b""
        else:
            self._skipped += len(piece)
            self._tail = (self._tail + piece[-_TAIL:])[-_TAIL:]
        if before < self._max_unterminated <= self._skipped:
            found.append(Unterminated())
