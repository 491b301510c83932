"""How a length is written: as an integer of fixed size, or as a varint."""

from __future__ import annotations

from typing import Literal, Protocol, final

import attrs

from esps_portal.framings.framing import FramingError, checked_integer
from esps_portal.given_numbers import shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

ByteOrder = Literal["big", "little"]

# A length field of 8 bytes is the longest that protocols have (WebSocket, RFC 6455, section 5.2).
_MAX_FIELD = 8
# MQTT has 4 bytes at most (version 5.0, section 1.5.5); lengths of protobuf have 32 bits, 5 bytes.
_MAX_VARINT = 5
# The bits of a byte of a varint that are its value, and the one that says that another byte comes.
_BITS, _MORE = 7, 0x80


class LengthField(Protocol):
    """A way to write a length."""

    def read(self, buffer: bytes | bytearray, start: int, stop: int) -> tuple[int, int] | None:
        """Return the value of the field at ``start``, and where the field ends.

        ``None``: it is not whole yet; no byte from ``stop`` on is looked at.

        Raises:
            FramingError: it is not a length.
        """

    def write(self, value: int) -> bytes | None:
        """Return the field with a value; ``None``: that is too large."""

    @property
    def largest(self) -> int:
        """The largest value that fits."""


@final
@attrs.frozen
class FixedField:
    """A length as an integer of ``size`` bytes.

    Raises:
        FramingError: the size is not a number from 1 to 8, or the order neither of the two.
    """

    size: int
    order: ByteOrder

    def __attrs_post_init__(self) -> None:
        checked_integer("size", self.size, 1, _MAX_FIELD)
        if self.order not in ("big", "little"):
            raise FramingError(f"order must be 'big' or 'little', got {shown_value(self.order)}")

    def read(self, buffer: bytes | bytearray, start: int, stop: int) -> tuple[int, int] | None:
        """Return the value and where the field ends, if it is whole."""
        end = start + self.size
        return (int.from_bytes(buffer[start:end], self.order), end) if end <= stop else None

    def write(self, value: int) -> bytes | None:
        """Return the field with a value, if it fits."""
        return value.to_bytes(self.size, self.order) if value <= self.largest else None

    @property
    def largest(self) -> int:
        """The largest value that fits."""
        return (1 << (8 * self.size)) - 1


@final
@attrs.frozen
class VarintField:
    """A length in 1 to 5 bytes, 7 bits each, the lowest first; the high bit says that one follows.

    Raises:
        FramingError: an order is given, which a varint has of its own.
    """

    order: ByteOrder

    def __attrs_post_init__(self) -> None:
        if self.order != "big":
            raise FramingError("order is for a length of some bytes: a varint has its own")

    def read(self, buffer: bytes | bytearray, start: int, stop: int) -> tuple[int, int] | None:
        """Return the value and where the field ends, if it is whole.

        Raises:
            FramingError: it has more than 5 bytes.
        """
        value = 0
        for number in range(_MAX_VARINT):
            place = start + number
            if place >= stop:
                return None
            byte = buffer[place]
            value |= (byte & ~_MORE) << (_BITS * number)
            if byte < _MORE:
                return value, place + 1
        raise FramingError(f"the length has more than {_MAX_VARINT} bytes: it is not a varint")

    def write(self, value: int) -> bytes | None:
        """Return the shortest field with a value, if it fits."""
        if value > self.largest:
            return None
        written = bytearray()
        while value >= _MORE:
            written.append(_MORE | (value & ~_MORE & 0xFF))
            value >>= _BITS
        return bytes([*written, value])

    @property
    def largest(self) -> int:
        """The largest value that fits."""
        return (1 << (_BITS * _MAX_VARINT)) - 1
