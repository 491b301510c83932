"""The text that names a framing on the command line and in files: ``str`` of it gives it back."""

from __future__ import annotations

import re
from collections.abc import Callable

from esps_portal.framings.delimiters import delimited, lines
from esps_portal.framings.framing import BuiltInFraming, Framing, FramingError, quoted
from esps_portal.framings.patterns import matching
from esps_portal.framings.sizes import fixed, length_prefixed
from esps_portal.framings.transport_ends import datagrams, until_close
from esps_portal.given_numbers import shown_value
from esps_portal.suggestions import suggest

_LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_KEYS = ("at", "order", "extra")


def parse_framing(text: str) -> Framing:
    """Return the framing that a text names.

    ``lines`` (LF), ``lines:lf``, ``lines:crlf``, ``lines:cr``, ``delimited:HEX``,
    ``length-prefixed:SIZE`` (bytes, or ``varint``) with ``,at=N``, ``,order=big|little`` and
    ``,extra=N``, ``fixed:N``, ``datagrams``, ``until-close`` and ``matching:REGEX``.

    Example: ``parse_framing("length-prefixed:2,at=4")`` is ``length_prefixed(2, at=4)``.

    Raises:
        FramingError: the text names none; the message says what to write.
    """
    if not isinstance(text, str):
        raise FramingError(
            f"a framing is named by text, such as 'lines:crlf', got {shown_value(text)}"
        )
    name, colon, value = text.partition(":")
    parse = _PARSERS.get(name)
    if parse is None:
        raise FramingError(f"unknown framing {quoted(name)}; {suggest(name, _PARSERS)}")
    return parse(value if colon else None)


def _lines(value: str | None) -> BuiltInFraming:
    if value is None:
        return lines()
    if value not in _LINE_ENDS:
        raise FramingError(f"lines: unknown end {quoted(value)}; {suggest(value, _LINE_ENDS)}")
    return lines(_LINE_ENDS[value])


def _delimited(value: str | None) -> BuiltInFraming:
    if not value:
        raise FramingError("delimited needs bytes in hex, such as delimited:0d0a")
    if not re.fullmatch(r"[0-9a-fA-F]+", value):
        raise FramingError(
            f"delimited: {quoted(value)} is not hex; write bytes as in delimited:0d0a"
        )
    if len(value) % 2:
        raise FramingError(f"delimited: {quoted(value)} has an odd number of hex digits")
    return delimited(bytes.fromhex(value))


def _length_prefixed(value: str | None) -> BuiltInFraming:
    size, *settings = (value or "").split(",")
    if not size:
        raise FramingError("length-prefixed needs a size in bytes, such as length-prefixed:2")
    given: dict[str, str] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if key not in _KEYS:
            raise FramingError(f"length-prefixed: unknown key {quoted(key)}; {suggest(key, _KEYS)}")
        if not equals or not text:
            raise FramingError(
                f"length-prefixed: {key} needs a value, such as {key}={_EXAMPLES[key]}"
            )
        if key in given:
            raise FramingError(f"length-prefixed: {key} is given twice")
        given[key] = text
    order = given.get("order", "big")
    if order not in ("big", "little"):
        raise FramingError(f"length-prefixed: order must be big or little, got {quoted(order)}")
    at, extra = (_integer("length-prefixed", key, given.get(key, "0")) for key in ("at", "extra"))
    return length_prefixed(
        "varint" if size == "varint" else _integer("length-prefixed", "size", size),
        at,
        extra,
        "little" if order == "little" else "big",
    )


_EXAMPLES = {"at": "4", "order": "little", "extra": "1"}


def _integer(framing: str, name: str, text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise FramingError(f"{framing}: {name} must be an integer, got {quoted(text)}")
    return int(text)


def _fixed(value: str | None) -> BuiltInFraming:
    if not value:
        raise FramingError("fixed needs a number of bytes, such as fixed:8")
    return fixed(_integer("fixed", "the size of a frame", value))


def _alone(name: str, make: Callable[[], BuiltInFraming]) -> Callable[[str | None], BuiltInFraming]:
    def parse(value: str | None) -> BuiltInFraming:
        if value is not None:
            raise FramingError(f"{name} takes no value, got {quoted(value)}")
        return make()

    return parse


def _matching(value: str | None) -> BuiltInFraming:
    if not value:
        raise FramingError(r"matching needs a regular expression, such as matching:END\r\n")
    try:
        # What is not UTF-8 in an argument of the command comes so, and is given back so.
        return matching(value.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise FramingError(f"matching: {quoted(value)} cannot be written as UTF-8") from None


_PARSERS: dict[str, Callable[[str | None], BuiltInFraming]] = {
    "lines": _lines,
    "delimited": _delimited,
    "length-prefixed": _length_prefixed,
    "fixed": _fixed,
    "datagrams": _alone("datagrams", datagrams),
    "until-close": _alone("until-close", until_close),
    "matching": _matching,
}
