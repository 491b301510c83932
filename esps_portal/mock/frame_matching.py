"""Which frames a stub of a peer answers, and how a frame that it does not answer differs.

Text or bytes must equal the frame; a compiled regular expression is searched in it, and a predicate
gets it and decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from esps_portal.faults.matching import Match, Matchable
from esps_portal.framings.framing import BuiltInFraming, Framing, FramingError
from esps_portal.framings.transport_ends import Datagrams
from esps_portal.journal.shown_bytes import shown_in_line
from esps_portal.patterns.meant_patterns import meant_as_pattern
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt

__tracebackhide__ = hides_frame


@attrs.frozen
class FrameMatcher:
    """What a stub, or a step of a conversation, is about.

    Attributes:
        given: text, bytes, a compiled regular expression or a predicate.
    """

    given: Matchable
    _exact: bytes | None
    _search: Match | None

    @classmethod
    def of(cls, given: object) -> FrameMatcher:
        """Return a matcher, checked.

        Raises:
            TypeError: no frame can be compared with it.
        """
        if isinstance(given, str):
            return cls(given, given.encode(), None)
        if isinstance(given, bytes | bytearray | memoryview):
            return cls(bytes(given), bytes(given), None)
        try:
            match = Match.of("match", given)
        except ValueError as error:
            raise TypeError(
                "a frame is matched by str, bytes, a compiled regular expression or a predicate,"
                f" got {type(given).__name__}"
            ) from error
        return cls(match.given, None, match)

    @property
    def exact(self) -> bytes | None:
        """The only frame that matches; ``None``: others may."""
        return self._exact

    def difference(self, frame: bytes) -> str:
        """Return how a frame differs from what matches; empty if it matches."""
        if self._exact is not None:
            return _difference(frame, self._exact) if frame != self._exact else ""
        assert self._search is not None  # noqa: S101 - the one or the other
        try:
            if self._search.matches(frame):
                return ""
        except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
            reraise_interrupt(error)
            return f"it raised {type(error).__name__}: {error}"
        return "it is not found in the frame" if self._is_pattern else "it returned a false value"

    def why_not(self, frame: bytes) -> str:
        """Return how a frame that does not match differs, for a report."""
        hint = "" if self._exact is None else meant_as_pattern(self._exact, frame)
        return f"{self.difference(frame)}{hint}"

    def nearness(self, frame: bytes) -> int:
        """Return how near a frame is: how many of its first bytes match."""
        return _first_difference(frame, self._exact) if self._exact is not None else 0

    @property
    def _is_pattern(self) -> bool:
        return hasattr(self.given, "pattern")

    def __str__(self) -> str:
        if self._exact is not None:
            return f"'{shown_in_line(self._exact)}'"
        return str(self._search) if self._is_pattern else f"<{self._search}>"


def check_can_match(matcher: FrameMatcher, framings: Sequence[Framing]) -> None:
    """Check that a frame of any of these can match; only text or bytes tell before one comes.

    Raises:
        FramingError: none can, such as a line with its end.
    """
    if matcher.exact is None:
        return
    reason = ""
    for framing in framings:
        if not isinstance(framing, BuiltInFraming):
            return  # a test's own: its join() may be for replies alone
        try:
            framing.join(matcher.exact)
        except FramingError as error:
            reason = reason or str(error)
        else:
            return
    if reason:
        raise FramingError(f"no frame can equal {matcher}: {reason}")


def check_can_be_sent(frames: Sequence[bytes], framings: Sequence[Framing]) -> None:
    """Check that frames can be sent with each of these framings.

    Raises:
        FramingError: one cannot; the text says that ``raw()`` sends bytes without framing.
    """
    for framing in framings:
        for frame in frames:
            try:
                framing.join(frame)
            except FramingError as error:
                if not isinstance(framing, BuiltInFraming) or isinstance(framing, Datagrams):
                    raise
                raise FramingError(f"{error}; raw() sends bytes as they are") from None


def _first_difference(frame: bytes, expected: bytes) -> int:
    pairs = enumerate(zip(frame, expected, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(frame), len(expected)))


def _difference(frame: bytes, expected: bytes) -> str:
    """Return the first byte that differs, counted from 0."""
    place = _first_difference(frame, expected)
    if place == len(frame):
        return f"it ends after {_count(place)}; expected '{shown_in_line(expected[place:])}' more"
    if place == len(expected):
        return f"it goes on after {_count(place)}, with '{shown_in_line(frame[place:])}'"
    got, wanted = frame[place : place + 1], expected[place : place + 1]
    return f"byte {place} is {_byte(got)}, not {_byte(wanted)}"


def _byte(byte: bytes) -> str:
    char = byte.decode("latin-1")
    is_visible = byte.isascii() and char.isprintable()
    return f"{byte[0]:#04x} '{char}'" if is_visible else f"{byte[0]:#04x}"


def _count(size: int) -> str:
    return "1 byte" if size == 1 else f"{size} bytes"
