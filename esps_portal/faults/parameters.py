"""The parameters of faults: what values each one takes."""

from __future__ import annotations

import sys

import attrs

from esps_portal.framings.transport_ends import MAX_DATAGRAM
from esps_portal.given_numbers import MAX_INTEGER
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class FaultError(ValueError):
    """An unknown fault, an unknown parameter or selector, or a wrong value."""


@attrs.frozen
class Parameter:
    """The values of one parameter of a fault.

    Attributes:
        type: `float` is any finite number, `int` an integer, `str` bytes in hexadecimal digits or,
            with ``names``, one of these.
        default: ``None``: the parameter is required, unless it `is_optional`.
        minimum, maximum: the bounds of a number, both included.
        names: allowed in place of a number.
    """

    type: type[float | str]
    default: float | str | None = None
    minimum: float = 0
    maximum: float = sys.float_info.max
    names: tuple[str, ...] = ()
    is_optional: bool = False

    def accepts(self, value: object) -> bool:
        """Whether the parameter may have this value."""
        if self.type is str:
            return isinstance(value, str) and (value in self.names or self._is_other_text(value))
        if isinstance(value, str):
            return value in self.names
        allowed = int if self.type is int else int | float
        if isinstance(value, bool) or not isinstance(value, allowed):
            return False
        # The bounds exclude nan, and integers that no float can hold.
        most = MAX_INTEGER if self.type is int else self.maximum
        return self.minimum <= value <= min(self.maximum, most)

    def _is_other_text(self, value: str) -> bool:
        return not self.names and _is_hex(value)

    def __str__(self) -> str:
        if self.type is str and self.names:
            return f"{', '.join(map(repr, self.names[:-1]))} or {self.names[-1]!r}"
        if self.type is str:
            return "bytes in hexadecimal, two digits each"
        number = "an integer" if self.type is int else "a number"
        if self.maximum != sys.float_info.max:
            number += f" from {self.minimum:g} to {self.maximum:.0f}"
        elif self.type is int and self.minimum == 1:
            number = "a positive integer"
        else:
            number += f" of at least {self.minimum:g}"
        return " or ".join(filter(None, (", ".join(map(repr, self.names)), number)))


def _is_hex(text: str) -> bool:
    try:
        return bool(bytes.fromhex(text))
    except ValueError:
        return False


def seconds(default: float | None = None, minimum: float = 0) -> Parameter:
    """Return a parameter for a time."""
    return Parameter(float, default, minimum)


def datagram_bytes(default: int, minimum: int = 0) -> Parameter:
    """Return a parameter for a number of bytes that one datagram can hold."""
    return Parameter(int, default, minimum, MAX_DATAGRAM)


# Seconds; a fault that holds a reply for less would pass a test without having done anything.
SOME_TIME = 0.001
COUNT = Parameter(int, minimum=1)
SEED = Parameter(int, 0)
#: The place of a byte, from 0.
PLACE = Parameter(int)
