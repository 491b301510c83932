"""Splits received bytes into lines, however they are cut, in bounded memory.

LF is the only terminator, so no two parsers can disagree about where a line ends. Nothing is
trimmed or folded here. A CR before the LF stays on the line: the grammar decides about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

# An error needs the line's tag: at most 32 bytes (grammar) and the SP after it. With one byte more,
# a CR after the tag does not look like the end of the line.
_HEAD_SIZE = 34
# SP, an HTTP version and a CR.
_TAIL_SIZE = len(b" HTTP/1.1\r")


@attrs.frozen
class TooLong:
    """A line exceeded the limit. Reported once, before its LF; the rest of the line is skipped.

    Attributes:
        head: its first bytes, enough to read its tag.
    """

    head: bytes


@attrs.frozen
class Skipped:
    """The LF of an over-long line has come. Reported after its `TooLong`.

    Attributes:
        tail: the last bytes of the line, enough to recognise an HTTP version.
    """

    tail: bytes


@attrs.frozen
class Unterminated:
    """More bytes have come without an LF than are allowed: the connection ends."""


#: Lines that are ignored on TCP (ESPS-LINE-10).
EMPTY_LINES = (b"", b"\r")

#: What a splitter reports: a line without its LF, or what happens to one that is too long.
LineEvent = bytes | TooLong | Skipped | Unterminated


class LineSplitter:
    """Splits a stream of bytes at each LF.

    Args:
        max_line: longest line in bytes, including its LF.
        max_unterminated: bytes without an LF after which `Unterminated` is reported, once.
    """

    __slots__ = ("_buffer", "_max_line", "_max_unterminated", "_skipped", "_tail")

    def __init__(self, max_line: int, max_unterminated: int) -> None:
        self._max_line = max_line
        self._max_unterminated = max_unterminated
        # The unfinished line.
        self._buffer = b""
        # Size of the over-long line so far; 0 while no line is being skipped.
        self._skipped = 0
        self._tail = b""

    @property
    def buffered(self) -> int:
        """The size of the unfinished line that is held, in bytes."""
        return len(self._buffer)

    @property
    def unfinished(self) -> bytes:
        """The unfinished line that is held; empty while an over-long one is skipped."""
        return self._buffer

    @property
    def is_within_line(self) -> bool:
        """Whether a line has begun and not ended, even if it is being skipped."""
        return bool(self._buffer or self._skipped)

    def feed(self, data: bytes) -> Sequence[LineEvent]:
        """Return what ``data`` completes, in order."""
        if self._skipped:
            return self._feed_measured(data)
        lines = data.split(b"\n")
        if self._buffer:
            lines[0] = self._buffer + lines[0]
        # If all bytes together are within the limit, so is each line.
        total = len(self._buffer) + len(data)
        if total > self._max_line and max(map(len, lines)) >= self._max_line:
            return self._feed_measured(data)
        self._buffer = lines.pop()
        return lines

    def _feed_measured(self, data: bytes) -> list[LineEvent]:
        """Do what `feed` does where a line may be too long."""
        events: list[LineEvent] = []
        *ended, unfinished = data.split(b"\n")
        for part in ended:
            self._extend(part, events)
            if self._skipped:
                self._skipped = 0
                events.append(Skipped(self._tail))
            elif len(self._buffer) < self._max_line:
                events.append(self._buffer)
            else:
                # The LF is the first byte over the limit.
                head, tail = self._buffer[:_HEAD_SIZE], self._buffer[-_TAIL_SIZE:]
                events += [TooLong(head), Skipped(tail)]
            self._buffer = b""
        self._extend(unfinished, events)
        return events

    def _extend(self, part: bytes, events: list[LineEvent]) -> None:
        """Add to the unfinished line; once it is over the limit, only count its bytes."""
        skipped_before = self._skipped
        if not skipped_before:
            self._buffer += part
            if len(self._buffer) <= self._max_line:
                return
            self._skipped = len(self._buffer)
            events.append(TooLong(self._buffer[:_HEAD_SIZE]))
            self._tail = self._buffer[-_TAIL_SIZE:]
            self._buffer = b""
        else:
            self._skipped += len(part)
            self._tail = (self._tail + part[-_TAIL_SIZE:])[-_TAIL_SIZE:]
        if skipped_before < self._max_unterminated <= self._skipped:
            events.append(Unterminated())
