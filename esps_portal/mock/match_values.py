"""The values of a scenario that match something: text, bytes, a regular expression."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from esps_portal.faults.matching import Matchable
from esps_portal.journal.values import (
    BASE64,
    ScenarioError,
    ValueTable,
    bytes_to_base64,
    read_bytes,
    read_text,
    wrong_value,
)
from esps_portal.mock.matching import describe_argument
from esps_portal.patterns.linear import LinearPattern, PatternError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Source = TypeVar("_Source", str, bytes)

# The flags that can be written at the start of a regular expression, as in ``(?i)``.
_FLAGS = {
    re.ASCII: "a",
    re.IGNORECASE: "i",
    re.LOCALE: "L",
    re.MULTILINE: "m",
    re.DOTALL: "s",
    re.VERBOSE: "x",
}


# ---- reading -----------------------------------------------------------------------------------


def read_match(value: object, path: str) -> Matchable:
    """Return what a fault finds: text, a regular expression or bytes."""
    if isinstance(value, str):
        read_bytes(value, path)
        return value
    if not isinstance(value, dict) or value.keys() not in ({"regex"}, {"hex"}):
        raise wrong_value(path, "text, {regex = ...} or {hex = ...}", value)
    table = ValueTable.of(value, path, ("regex", "hex"))
    return (
        table.required("regex", read_pattern) if "regex" in value else table.required("hex", _hex)
    )


def read_frame_match(value: object, path: str) -> Matchable:
    """Return what a stub of a peer answers: the same, but it may be empty, and has more forms."""
    if value == {"hex": ""}:
        return b""
    is_base64 = isinstance(value, dict) and value.keys() == {BASE64}
    return read_bytes(value, path) if is_base64 else read_match(value, path)


def _hex(value: object, path: str) -> bytes:
    try:
        found = bytes.fromhex(read_text(value, path))
    except ValueError:
        found = b""
    if not found:
        raise wrong_value(path, "bytes in hexadecimal, two digits each", value)
    return found


def read_pattern(value: object, path: str) -> LinearPattern:
    """Return a regular expression of text; or of bytes, if it is written in base64."""
    source = read_bytes(value, path)
    try:
        return LinearPattern.of(source if isinstance(value, dict) else source.decode())
    except PatternError as error:
        raise ScenarioError(path, str(error)) from error


# ---- writing -----------------------------------------------------------------------------------


def match_to_value(match: object, path: str) -> object:
    """Return what a fault finds, as `read_match` takes it.

    Raises:
        ScenarioError: it is a predicate, which cannot be written.
    """
    if isinstance(match, bytes):
        text = match.decode("utf-8", "replace")
        is_text = text.isprintable() and text.encode() == match
        return text if is_text else {"hex": match.hex()}
    if isinstance(match, re.Pattern | LinearPattern):
        return pattern_to_value(match, path)
    if not isinstance(match, str):
        raise ScenarioError(
            path, f"{describe_argument(match)} is a predicate, which no scenario can hold"
        )
    return match


def frame_match_to_value(match: object, path: str) -> object:
    """Return what a stub of a peer answers, as `read_frame_match` takes it."""
    return "" if match == b"" else match_to_value(match, path)


def pattern_to_value(pattern: re.Pattern[Any] | LinearPattern, path: str) -> object:
    """Return a regular expression, as `read_pattern` takes it in a table with ``regex``.

    Raises:
        ScenarioError: its flags cannot be written at its start, or a file may not hold it.
    """
    source = pattern.pattern
    if isinstance(source, bytes):
        # Base64 marks a pattern of bytes, whatever its characters.
        written = _with_flags(pattern, source.decode("latin-1"), path).encode("latin-1")
        return {"regex": bytes_to_base64(_checked(written, path))}
    return {"regex": _checked(_with_flags(pattern, source, path), path)}


def _checked(source: _Source, path: str) -> _Source:
    """Return a pattern that a scenario may hold."""
    try:
        LinearPattern.of(source)
    except PatternError as error:
        raise ScenarioError(
            path, f"{describe_argument(re.compile(source))}, which no scenario can hold: {error}"
        ) from error
    return source


def _with_flags(pattern: re.Pattern[Any] | LinearPattern, source: str, path: str) -> str:
    """Return the source of a pattern with its flags written at its start."""
    is_bytes = isinstance(pattern.pattern, bytes)

    def compiled(text: str) -> re.Pattern[Any]:
        return re.compile(text.encode("latin-1") if is_bytes else text)

    flags = pattern.flags & ~re.DEBUG
    try:
        missing = flags & ~compiled(source).flags
    except re.error:  # it is valid with its flags only
        missing = flags
    letters = "".join(letter for flag, letter in _FLAGS.items() if missing & flag)
    written = f"(?{letters}){source}" if letters else source
    try:
        same = compiled(written).flags == flags
    except re.error:  # it starts with flags already, and cannot have two such groups
        same = False
    if not same:
        raise ScenarioError(
            path, f"the flags of {describe_argument(pattern)} cannot be written at its start"
        )
    return written
