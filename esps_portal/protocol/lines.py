"""Splits received bytes into lines, however they are cut, in bounded memory.

LF is the only terminator, so no two parsers can disagree about where a line ends. Nothing is
trimmed or folded here. A CR before the LF stays on the line: the grammar decides about it.
"""

from __future__ import annotations

import attrs

# An error needs the line's tag: at most 32 bytes (grammar) and the SP after it. With one byte more,
# a CR after the tag does not look like the end of the line.
_HEAD_SIZE = 34


@attrs.frozen
class TooLong:
    """A line exceeded the limit. Reported once, before its LF; the rest of the line is skipped.

    Attributes:
        head: its first bytes, enough to read its tag.
    """

    head: bytes


@attrs.frozen
class Unterminated:
    """More bytes have come without an LF than are allowed: the connection ends."""


#: Lines that are ignored on TCP (ESPS-LINE-10).
EMPTY_LINES = (b"", b"\r")

#: What happens to a line that is too long.
LongLineEvent = TooLong | Unterminated
#: What a splitter reports: a line without its LF, or what happens to one that is too long.
LineEvent = bytes | LongLineEvent


class LineSplitter:
    """Splits a stream of bytes at each LF.

    Args:
        max_line: longest line in bytes, including its LF.
        max_unterminated: bytes without an LF after which `Unterminated` is reported, once.

    Attributes:
        unfinished: the unfinished line that is held; empty while an over-long one is skipped.
    """

    __slots__ = ("_is_skipping", "_max_line", "_max_unterminated", "_skipped", "unfinished")

    def __init__(self, max_line: int, max_unterminated: int) -> None:
        self._max_line = max_line
        self._max_unterminated = max_unterminated
        self.unfinished: bytes = b""
        # Whether the unfinished line is too long. Then only its size is kept.
        self._is_skipping = False
        self._skipped = 0

    @property
    def is_within_line(self) -> bool:
        """Whether a line has begun and not ended, even if it is being skipped."""
        return bool(self.unfinished or self._is_skipping)

    def is_whole(self, data: bytes) -> bool:
        """Whether ``data`` is nothing but whole lines, each short enough."""
        return (
            data[-1:] == b"\n"
            and len(data) <= self._max_line
            and not (self.unfinished or self._is_skipping)
        )

    def feed(self, data: bytes) -> list[LineEvent]:
        """Return what ``data`` completes, in order."""
        events: list[LineEvent] = []
        for block in self.feed_blocks(data):
            if isinstance(block, bytes):
                events += block[:-1].split(b"\n")
            else:
                events.append(block)
        return events

    def feed_blocks(self, data: bytes) -> list[bytes | LongLineEvent]:
        """Do what `feed` does, with lines that follow each other in one piece, each with its LF."""
        if self.is_whole(data):
            return [data]
        events: list[bytes | LongLineEvent] = []
        while data:
            data = self._skip(data, events) if self._is_skipping else self._take(data, events)
        return events

    def _take(self, data: bytes, events: list[bytes | LongLineEvent]) -> bytes:
        """Take all lines up to one that is too long; return what is left, from that line on."""
        data = self.unfinished + data
        start = 0
        # If the last LF is this near to the start, all lines between are short enough.
        while end := data.rfind(b"\n", start, start + self._max_line) + 1:
            start = end
        if start:
            events.append(data[:start])
        unfinished = data[start:]
        if len(unfinished) <= self._max_line:
            self.unfinished = unfinished
            return b""
        # The first byte over the limit may be the LF itself.
        events.append(TooLong(unfinished[:_HEAD_SIZE]))
        self.unfinished, self._is_skipping = b"", True
        return unfinished

    def _skip(self, data: bytes, events: list[bytes | LongLineEvent]) -> bytes:
        """Skip a line that is too long, up to its LF; return what follows it."""
        part, lf, rest = data.partition(b"\n")
        skipped_before = self._skipped
        self._skipped += len(part)
        if skipped_before < self._max_unterminated <= self._skipped:
            events.append(Unterminated())
        if lf:
            self._is_skipping, self._skipped = False, 0
        return rest
