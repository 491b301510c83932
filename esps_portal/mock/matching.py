"""What arguments a stub answers to: exact ones, any, those that fit a pattern or a predicate.

A stub has one of these for each argument of the call; `ANY_ARGS` at the end takes whatever else
comes. Each can describe what it wants, for a person to read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Characters shown of an argument: 8 KB in one line of a report help nobody.
_SHOWN = 60


@attrs.frozen
class _Any:
    """Any one argument."""

    def __repr__(self) -> str:
        return "ANY"


@attrs.frozen
class _AnyArgs:
    """Any further arguments, or none."""

    def __repr__(self) -> str:
        return "ANY_ARGS"


#: Matches one argument, whatever it is.
ANY: Final = _Any()
#: Matches, at the end, any further arguments or none.
ANY_ARGS: Final = _AnyArgs()

#: What may match an argument: itself (text is UTF-8), `ANY`, `ANY_ARGS`, a compiled regular
#: expression that matches all of it, or a predicate that takes it as bytes: true is a match.
Matcher = (
    str | bytes | _Any | _AnyArgs | re.Pattern[str] | re.Pattern[bytes] | Callable[[bytes], object]
)


@attrs.frozen
class ArgumentPattern:
    """The arguments that a stub answers to."""

    wanted: tuple[Matcher, ...]
    open_ended: bool

    @classmethod
    def of(cls, args: Sequence[Matcher]) -> ArgumentPattern:
        """Return the pattern for what was given to ``stub``.

        Raises:
            TypeError: one of them is not something that can match an argument.
            ValueError: `ANY_ARGS` is not the last.
        """
        open_ended = bool(args) and args[-1] is ANY_ARGS
        row = tuple(_checked(arg) for arg in (args[:-1] if open_ended else args))
        if any(arg is ANY_ARGS for arg in row):
            raise ValueError("ANY_ARGS matches all further arguments: it comes last")
        return cls(row, open_ended)

    def differences(self, args: Sequence[bytes]) -> list[str]:
        """Return what keeps ``args`` from matching, for a person; nothing where they match."""
        found = []
        for number, (wanted, arg) in enumerate(zip(self.wanted, args, strict=False), 1):
            try:
                if _fits(wanted, arg):
                    continue
                why = ""
            except Exception as error:  # noqa: BLE001 - a test's own predicate may raise anything
                words = str(error).encode("utf-8", "backslashreplace").decode()
                why = f" ({type(error).__name__}: {words})"
            found.append(f"argument {number} is {shown(arg)}, not {shown(wanted)}{why}")
        least = len(self.wanted)
        if len(args) < least or (len(args) > least and not self.open_ended):
            at_least = "at least " if self.open_ended else ""
            found.append(f"it has {_count(len(args))}, not {at_least}{least}")
        return found

    def matches(self, args: Sequence[bytes]) -> bool:
        """Whether a call with ``args`` is meant."""
        return not self.differences(args)

    def __str__(self) -> str:
        row = [shown(wanted) for wanted in self.wanted]
        return " ".join([*row, "..."] if self.open_ended else row)


def shown(value: object) -> str:
    """Return an argument, or what matches one, for a person to read: bounded, on one line."""
    if isinstance(value, bytes):
        text = _shown_octets(value)
    elif isinstance(value, re.Pattern):
        text = f"/{_text(value.pattern)}/"
    elif callable(value):
        text = f"<{getattr(value, '__name__', 'predicate')}>"
    else:
        text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _shown_octets(value: bytes) -> str:
    """Return printable text as text, and anything else as bytes."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return repr(text) if text.isprintable() else repr(value)


def _checked(wanted: Matcher) -> Matcher:
    if isinstance(wanted, str | bytes | bytearray | memoryview):
        return as_bytes(wanted)
    if inspect.iscoroutinefunction(wanted):
        raise TypeError("a predicate is a plain function: what an async one returns is always true")
    if isinstance(wanted, _Any | _AnyArgs | re.Pattern) or callable(wanted):
        return wanted
    raise TypeError(
        "an argument of a stub is str, bytes, ANY, ANY_ARGS, a compiled regular expression or a"
        f" predicate, not {type(wanted).__name__}"
    )


def _fits(wanted: Matcher, arg: bytes) -> bool:
    if isinstance(wanted, bytes):
        return wanted == arg
    if isinstance(wanted, re.Pattern):
        return _fits_pattern(wanted, arg)
    return wanted is ANY or (callable(wanted) and bool(wanted(arg)))


def _fits_pattern(pattern: re.Pattern[Any], arg: bytes) -> bool:
    if isinstance(pattern.pattern, bytes):
        return pattern.fullmatch(arg) is not None
    try:
        return pattern.fullmatch(arg.decode()) is not None
    except UnicodeDecodeError:
        return False  # octets that are no text fit no pattern of text


def _text(pattern: str | bytes) -> str:
    return pattern if isinstance(pattern, str) else pattern.decode("utf-8", "backslashreplace")


def _count(number: int) -> str:
    return "no arguments" if number == 0 else f"{number} argument{'s' * (number > 1)}"
