"""Frames that end where a regular expression matches."""

from __future__ import annotations

import re
from typing import Any, final

import attrs

from esps_portal.framings.framing import BuiltInFraming, FramingError, checked_frame, quoted
from esps_portal.given_numbers import shown_value
from esps_portal.patterns.earliest_end import Automaton, build_automaton, min_width
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: States of a pattern that a stranger may give: with each byte all of them may be looked at, which
#: takes 0.1 ms. 1,000 are more than a pattern of 1,000 bytes has that counts no repeats.
MAX_LINEAR_STATES = 1_000

# Flags of `re.compile`, by the letter that says the same inside a pattern.
_FLAG_LETTERS = {
    re.IGNORECASE: b"i",
    re.LOCALE: b"L",
    re.MULTILINE: b"m",
    re.DOTALL: b"s",
    re.VERBOSE: b"x",
    re.ASCII: b"a",
}


class _AutomatonSearch:
    """Looks at each byte once."""

    __slots__ = ("_automaton", "_current", "_searched")

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._current = automaton.first
        # How many bytes of the frame were searched.
        self._searched = 0

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        current = self._current
        for place in range(start + self._searched, stop):
            byte = buffer[place]
            current = current.following.get(byte) or self._automaton.follow(current, byte)
            if current.accepts:
                self._current, self._searched = self._automaton.first, 0
                return place + 1
        self._current, self._searched = current, max(self._searched, stop - start)
        return None


class _RepeatedSearch:
    """Searches the frame so far again with each byte, for patterns that are not regular.

    Each byte of its own: which bytes came together must not decide, and more bytes may make what
    has matched match no more.
    """

    __slots__ = ("_pattern", "_searched")

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern = pattern
        self._searched = 0

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        # A copy for all of them: a view of a bytearray would keep it from growing.
        frame = bytes(buffer[start:stop])
        for size in range(self._searched + 1, len(frame) + 1):
            found = self._pattern.search(frame, 0, size)
            if found is not None:
                self._searched = 0
                return start + found.end()
        self._searched = max(self._searched, len(frame))
        return None


def _checked_pattern(regex: object) -> bytes:
    """Return a pattern that says its flags itself, so that its text says all."""
    text = _with_flags(regex) if isinstance(regex, re.Pattern) else regex
    if not isinstance(text, bytes):
        raise FramingError(
            f"a pattern must be bytes or a compiled pattern of bytes, got {shown_value(regex)}"
        )
    try:
        compiled = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise FramingError(
            f"{quoted(text)} is not a regular expression: {_visible(str(error))}"
        ) from error
    if min_width(compiled) < 1:
        raise FramingError(
            f"the pattern {quoted(text)} may match no byte at all: no frame would end"
        )
    return text


def _visible(text: str) -> str:
    """Return the text of an error of `re`, which quotes the pattern as it is, escaped."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _with_flags(compiled: re.Pattern[Any]) -> object:
    text = compiled.pattern
    try:
        if not isinstance(text, bytes) or re.compile(text).flags == compiled.flags:
            return text
    except re.error:
        pass  # only with VERBOSE it is a pattern
    flags = re.RegexFlag(compiled.flags)
    # DEBUG, for example, has no letter, and means nothing here.
    letters = b"".join(letter for flag, letter in _FLAG_LETTERS.items() if flag in flags)
    return b"(?" + letters + b")" + text if letters else text


@final
@attrs.frozen
class Matching(BuiltInFraming):
    """Made by `matching`."""

    regex: bytes = attrs.field(converter=_checked_pattern)
    _compiled: re.Pattern[bytes] = attrs.field(init=False, eq=False, repr=False)
    _automaton: Automaton | None = attrs.field(init=False, eq=False, repr=False)

    @_compiled.default
    def _(self) -> re.Pattern[bytes]:
        return re.compile(self.regex)

    @_automaton.default
    def _(self) -> Automaton | None:
        return build_automaton(self._compiled)

    @property
    def is_regular(self) -> bool:
        """Whether the search takes one pass over the bytes."""
        return self._automaton is not None

    @property
    def is_linear(self) -> bool:
        """Whether a search takes one pass, and a step of it a short time for any pattern."""
        return self._automaton is not None and self._automaton.size <= MAX_LINEAR_STATES

    def new_search(self) -> _AutomatonSearch | _RepeatedSearch:
        """Return a search that begins with the first byte of a stream."""
        if self._automaton is None:
            return _RepeatedSearch(self._compiled)
        return _AutomatonSearch(self._automaton)

    def join(self, frame: bytes) -> bytes:
        """Return the frame, which has its end.

        Raises:
            FramingError: the pattern does not match at its end, or matches before.
        """
        frame = checked_frame(frame)
        frames, rest = self.split(frame)
        if frames[:1] == [frame] and not rest:
            return frame
        if not frames:
            raise FramingError(f"{self!r}: nothing ends the frame {quoted(frame)}")
        raise FramingError(
            f"{self!r}: the frame ends after {len(frames[0])} of {len(frame)} bytes:"
            f" {quoted(frame)}"
        )

    def __str__(self) -> str:
        return f"matching:{self.regex.decode('utf-8', 'surrogateescape')}"


def matching(regex: bytes | re.Pattern[bytes]) -> Matching:
    r"""A frame ends where this regular expression matches; stubs see it with what matched.

    It is decided at the earliest bytes that match, so it never waits for more and never depends on
    how the bytes were cut: ``rb"\n+"`` ends a frame after the first of several LFs,
    ``rb"END|ENDS"`` after ``END``, and ``$`` and ``\b`` hold after the last byte that has come. A
    frame begins anew: ``^`` is its start, and a lookbehind sees nothing before it. What a lookahead
    has seen belongs to the next frame.

    Example: ``matching(rb"\r\n\.\r\n|-ERR.*\r\n").split(b"-ERR no\r\n+OK")`` is
    ``([b"-ERR no\r\n"], b"+OK")``.

    Used for ends that are not fixed bytes: the last line of a reply of several lines, as in SMTP
    (``rb"(?m)^\d{3} .*\r\n"``, RFC 5321, section 4.2.1) and FTP (RFC 959, section 4.2); POP3
    (RFC 1939, section 3); the prompt of a device.

    A search looks at each byte once, whatever the pattern, except with lookaround, ``$``, ``\b``,
    references to groups, atomic groups, ``(?L)`` or thousands of counted repeats: then each byte
    costs a search of the frame so far by `re`, which ``max_frame`` alone bounds.

    Args:
        regex: a pattern of bytes, or a compiled one, that matches no empty text.

    Raises:
        FramingError: it is not a regular expression of bytes, or may match without a byte.
    """
    return Matching(regex)
