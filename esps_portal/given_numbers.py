"""Numbers that users give, in code or as text: which are accepted, and how to show one.

Python accepts more than people write: ``1_0``, digits of every script, spaces around them. And it
refuses to print, or to parse, integers of thousands of digits, with an error that is meant for
programmers. Here a text must consist of ASCII digits, and any value can be shown in a message.
"""

from __future__ import annotations

import re
import sys
from typing import TypeGuard

#: The largest integer that is taken: 64 bits with a sign, what TOML and most languages can hold.
MAX_INTEGER = 2**63 - 1

_INTEGER = re.compile(r"-?[0-9]{1,99}")
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MAX_LENGTH = 100  # characters of a number as text, and of a value in a message: own choice


def is_seconds(value: object) -> TypeGuard[int | float]:
    """Whether something is a number of seconds, 0 or more, neither nan nor infinite."""
    # An integer may be larger than any float.
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value <= sys.float_info.max
    )


def is_integer(value: object, minimum: int = 0) -> TypeGuard[int]:
    """Whether something is an integer of at least ``minimum`` and at most `MAX_INTEGER`."""
    return type(value) is int and minimum <= value <= MAX_INTEGER


def read_integer(text: str) -> int | None:
    """Return a decimal integer; ``None`` for any other text, and for one of 100 digits or more."""
    return int(text) if _INTEGER.fullmatch(text) else None


def read_number(text: str) -> int | float | None:
    """Return a decimal integer, or a float; ``None`` for any other text.

    ``read_number("1.5e3") == 1500.0``, and one that no float can hold is infinite.
    """
    integer = read_integer(text)
    if integer is not None:
        return integer
    if len(text) > _MAX_LENGTH or not _NUMBER.fullmatch(text):
        return None
    return float(text)


def shown_value(value: object) -> str:
    """Return a value as Python writes it, for a message: 100 characters at most."""
    try:
        text = repr(value)
    except ValueError:  # an integer that Python does not print, or something that holds one
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 3] + "..."
