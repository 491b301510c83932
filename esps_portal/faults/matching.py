"""What selects a unit by its bytes: a substring, a regular expression or a predicate.

Where a unit is known as a whole all three are searched in it. Where it comes in pieces, and has no
known end, only a substring can be found as it passes: `LiteralScanner`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

from esps_portal.given_numbers import shown_value
from esps_portal.patterns.linear import LinearPattern
from esps_portal.patterns.own_patterns import in_bounded_time
from esps_portal.protocol.escape import shorten, visible
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt
from esps_portal.user_functions import check_predicate, decides

__tracebackhide__ = hides_frame

# Characters of what is found, in a report.
_MAX_SHOWN = 80

#: What a test may give: text (as UTF-8), bytes, a compiled regular expression, a predicate. A file
#: or the control port gives a `LinearPattern` for a regular expression.
Matchable = (
    str | bytes | re.Pattern[bytes] | re.Pattern[str] | LinearPattern | Callable[[bytes], object]
)


@attrs.frozen
class Match:
    """One selector of bytes.

    Attributes:
        given: as the test gave it.
        literal: the bytes to find; ``None``: it is not a substring.
    """

    given: Matchable
    literal: bytes | None
    _search: Callable[[bytes], object] = attrs.field(repr=False, eq=False)

    @classmethod
    def of(cls, name: str, given: object) -> Match:
        """Make a selector of what a test gave.

        Raises:
            ValueError: it is empty, or nothing that can be searched for; the text names it.
            TypeError: it is a function that cannot be called with bytes, or that is always true.
        """
        if isinstance(given, str | bytes):
            literal = given.encode() if isinstance(given, str) else given
            if not literal:
                raise ValueError(f"{name} must not be empty: leave it out to match anything")
            return cls(given, literal, lambda unit: literal in unit)
        if isinstance(given, re.Pattern | LinearPattern):
            return cls(given, None, _searcher(given))
        if callable(given):
            check_predicate(given, "bytes")
            return cls(given, None, partial(decides, given))
        raise ValueError(
            f"{name} must be text, bytes, a compiled regular expression or a function of bytes,"
            f" got {shown_value(given)}"
        )

    def guarded(self, on_error: Callable[[BaseException], None]) -> Match:
        """Return the same selector; if its predicate raises, that is reported, and matches nothing.

        Args:
            on_error: called with what the predicate has raised.
        """

        def search(unit: bytes) -> object:
            try:
                return self._search(unit)
            except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
                reraise_interrupt(error)
                on_error(error)
                return None

        return Match(self.given, self.literal, search)

    def matches(self, unit: bytes) -> bool:
        """Whether a whole unit, or what has come of it so far, matches."""
        return bool(self._search(unit))

    def __str__(self) -> str:
        if self.literal is not None:
            text = self.literal.decode("utf-8", "replace")
            is_text = text.isprintable() and text.encode() == self.literal
            return _quoted(text) if is_text else f"hex:{shorten(self.literal.hex(), _MAX_SHOWN)}"
        if isinstance(self.given, re.Pattern | LinearPattern):
            pattern = self.given.pattern
            text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
            return f"re:{_quoted(text)}"
        return getattr(self.given, "__name__", "predicate")


def _quoted(text: str) -> str:
    """Return text as the command line takes it."""
    quote = '"' if "'" in text else "'"
    return f"{quote}{shorten(visible(text), _MAX_SHOWN)}{quote}"


def _searcher(pattern: re.Pattern[Any] | LinearPattern) -> Callable[[bytes], object]:
    if isinstance(pattern, re.Pattern):
        pattern = in_bounded_time(pattern)
    if isinstance(pattern.pattern, bytes):
        return pattern.search
    # A pattern of text searches text: each byte is the character of its number, so that any
    # bytes can be searched and ASCII patterns mean what they say.
    search = pattern.search
    return lambda unit: search(unit.decode("latin-1"))


class LiteralScanner:
    """Finds a substring in bytes that come in pieces.

    Example::

        scanner = LiteralScanner(b"INCR")
        scanner.feed(b"*2 IN")  # None
        scanner.feed(b"CR n")  # 1: the last byte of the match, here
    """

    __slots__ = ("_literal", "_tail")

    def __init__(self, literal: bytes) -> None:
        self._literal = literal
        self._tail = b""

    def feed(self, data: bytes) -> int | None:
        """Return where in ``data`` the last byte of the first match is; ``None``: nowhere."""
        seen = self._tail + data
        start = seen.find(self._literal)
        if start >= 0:
            return start + len(self._literal) - 1 - len(self._tail)
        kept = len(self._literal) - 1
        self._tail = seen[-kept:] if kept else b""
        return None
