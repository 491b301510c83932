"""Which arguments a stub answers: exact ones, any, or those that a pattern or predicate matches.

A stub has one matcher for each argument of the call; `ANY_ARGS` at the end matches all further
ones. A matcher can be described for a person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from esps_portal.patterns.linear import LinearPattern
from esps_portal.patterns.meant_patterns import meant_as_pattern
from esps_portal.patterns.own_patterns import in_bounded_time
from esps_portal.protocol.escape import shorten
from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt
from esps_portal.user_functions import check_predicate, decides

__tracebackhide__ = hides_frame

# Characters of an argument in a report: each must fit one line.
_MAX_SHOWN = 60


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


#: Matches any one argument.
ANY: Final = _Any()
#: Matches any further arguments or none; the last of a stub's.
ANY_ARGS: Final = _AnyArgs()

#: What matches an argument: the same text (as UTF-8) or bytes, `ANY`, `ANY_ARGS`, a compiled
#: regular expression (which must match all of it), or a predicate that gets it as bytes. A file or
#: the control port gives a `LinearPattern` for a regular expression.
Matcher = (
    str
    | bytes
    | _Any
    | _AnyArgs
    | re.Pattern[str]
    | re.Pattern[bytes]
    | LinearPattern
    | Callable[[bytes], object]
)


@attrs.frozen
class ArgsMatcher:
    """The arguments that a stub answers.

    Attributes:
        matchers: one for each argument.
        allows_more_args: `ANY_ARGS` came last.
    """

    matchers: tuple[Matcher, ...]
    allows_more_args: bool

    @classmethod
    def of(cls, args: Sequence[Matcher]) -> ArgsMatcher:
        """Return the matcher for the arguments of ``stub``.

        Raises:
            TypeError: one of them cannot match an argument.
            ValueError: `ANY_ARGS` is not the last.
        """
        allows_more_args = bool(args) and args[-1] is ANY_ARGS
        matchers = tuple(_checked(arg) for arg in (args[:-1] if allows_more_args else args))
        if any(matcher is ANY_ARGS for matcher in matchers):
            raise ValueError("ANY_ARGS matches all further arguments: it must come last")
        return cls(matchers, allows_more_args)

    def differences(self, args: Sequence[bytes]) -> list[str]:
        """Return why ``args`` do not match, a text for each difference; empty if they match."""
        found = []
        for number, (matcher, arg) in enumerate(zip(self.matchers, args, strict=False), 1):
            try:
                if _matches(matcher, arg):
                    continue
                why = ""
                if isinstance(matcher, bytes):
                    why = meant_as_pattern(matcher, arg, whole=True)
            except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
                reraise_interrupt(error)
                message = str(error).encode("utf-8", "backslashreplace").decode()
                why = f" ({type(error).__name__}: {message})"
            got, expected = describe_argument(arg), describe_argument(matcher)
            found.append(f"argument {number} is {got}, not {expected}{why}")
        minimum = len(self.matchers)
        if len(args) < minimum or (len(args) > minimum and not self.allows_more_args):
            at_least = "at least " if self.allows_more_args else ""
            more = "; ANY_ARGS matches further ones" if len(args) > minimum else ""
            found.append(f"it has {_count(len(args))}, not {at_least}{minimum}{more}")
        return found

    def matches(self, args: Sequence[bytes]) -> bool:
        """Whether a stub with these matchers answers a call with ``args``."""
        return not self.differences(args)

    def __str__(self) -> str:
        parts = [describe_argument(matcher) for matcher in self.matchers]
        return " ".join([*parts, "..."] if self.allows_more_args else parts)


def describe_argument(value: object) -> str:
    """Return an argument, or a matcher of one, as a short line for a person."""
    if isinstance(value, bytes):
        text = _quote_bytes(value)
    elif isinstance(value, re.Pattern | LinearPattern):
        text = f"/{_text(value.pattern)}/"
    elif callable(value):
        text = f"<{getattr(value, '__name__', 'predicate')}>"
    else:
        text = repr(value)
    return shorten(text, _MAX_SHOWN)


def _quote_bytes(value: bytes) -> str:
    """Return printable UTF-8 as quoted text, anything else as a bytes literal."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return repr(value)
    return repr(text) if text.isprintable() else repr(value)


def _checked(matcher: Matcher) -> Matcher:
    if isinstance(matcher, str | bytes | bytearray | memoryview):
        return as_bytes(matcher)
    if isinstance(matcher, _Any | _AnyArgs | re.Pattern | LinearPattern):
        return matcher
    if callable(matcher):
        check_predicate(matcher, "argument")
        return matcher
    raise TypeError(
        "an argument of a stub must be str, bytes, ANY, ANY_ARGS, a compiled regular expression or"
        f" a predicate, got {type(matcher).__name__}"
    )


def _matches(matcher: Matcher, arg: bytes) -> bool:
    if isinstance(matcher, bytes):
        return matcher == arg
    if isinstance(matcher, re.Pattern | LinearPattern):
        return _matches_pattern(matcher, arg)
    return matcher is ANY or (callable(matcher) and decides(matcher, arg))


def _matches_pattern(pattern: re.Pattern[Any] | LinearPattern, arg: bytes) -> bool:
    if isinstance(pattern, re.Pattern):
        pattern = in_bounded_time(pattern)
    if isinstance(pattern.pattern, bytes):
        return bool(pattern.fullmatch(arg))
    try:
        return bool(pattern.fullmatch(arg.decode()))
    except UnicodeDecodeError:
        return False  # a text pattern matches text only


def _text(pattern: str | bytes) -> str:
    return pattern if isinstance(pattern, str) else pattern.decode("utf-8", "backslashreplace")


def _count(number: int) -> str:
    return "no arguments" if number == 0 else f"{number} argument{'s' * (number > 1)}"
