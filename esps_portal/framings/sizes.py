"""Frames whose size is known: from a length field, or always the same."""

from __future__ import annotations

from typing import Literal, final

import attrs

from esps_portal.framings.framing import (
    BuiltInFraming,
    FramingError,
    checked_frame,
    checked_integer,
    shown,
)
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

ByteOrder = Literal["big", "little"]

# A length field of 8 bytes is the longest that protocols have (WebSocket, RFC 6455, section 5.2).
_MAX_FIELD = 8
# Nobody has longer headers or frames of one size, and arithmetic stays cheap.
_MAX_NUMBER = (1 << 31) - 1


class _LengthSearch:
    """Reads the length field as soon as it is whole."""

    __slots__ = ("_framing",)

    def __init__(self, framing: LengthPrefixed) -> None:
        self._framing = framing

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        if stop - start < self._framing.header:
            return None
        field = buffer[start + self._framing.at : start + self._framing.header]
        return start + self._framing.total(bytes(field))


class _FixedSearch:
    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    def find_end(self, _buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        return start + self._size if stop - start >= self._size else None


@final
@attrs.frozen
class LengthPrefixed(BuiltInFraming):
    """Made by `length_prefixed`."""

    size: int
    at: int = 0
    extra: int = 0
    order: ByteOrder = "big"

    def __attrs_post_init__(self) -> None:
        checked_integer("size", self.size, 1, _MAX_FIELD)
        checked_integer("at", self.at, 0, _MAX_NUMBER)
        checked_integer("extra", self.extra, None, _MAX_NUMBER)
        if self.order not in ("big", "little"):
            raise FramingError(f"order must be 'big' or 'little', got {self.order!r}")

    @property
    def header(self) -> int:
        """The bytes up to the end of the length field."""
        return self.at + self.size

    @property
    def shows_whole_frame(self) -> bool:
        """Whether stubs see the whole frame, not its payload alone."""
        return bool(self.at or self.extra)

    def total(self, field: bytes) -> int:
        """Return the size of a frame with this length field, in bytes.

        Raises:
            FramingError: the frame would be shorter than its header.
        """
        value = int.from_bytes(field, self.order)
        total = self.header + value + self.extra
        if total < self.header:
            raise FramingError(
                f"{self}: the length field says {value}: "
                f"with extra={self.extra} the frame would end before its length field does"
            )
        return total

    def new_search(self) -> _LengthSearch:
        """Return a search that begins with the first byte of a stream."""
        return _LengthSearch(self)

    def payload_of(self, wire: bytes) -> bytes:
        """Return the bytes after the length field, or the whole frame."""
        return wire if self.shows_whole_frame else wire[self.size :]

    def join(self, frame: bytes) -> bytes:
        """Return the frame with its length field; a frame that is shown whole has its own.

        Raises:
            FramingError: the frame is too long for its length field, or its own field is wrong.
        """
        frame = checked_frame(frame)
        if not self.shows_whole_frame:
            try:
                return len(frame).to_bytes(self.size, self.order) + frame
            except OverflowError:
                raise FramingError(
                    f"{self}: a frame has at most {256**self.size - 1} bytes, got {len(frame)}"
                ) from None
        if len(frame) < self.header:
            raise FramingError(
                f"{self}: a frame has at least {self.header} bytes, its length field included, "
                f"got {shown(frame)}"
            )
        total = self.total(frame[self.at : self.header])
        if total != len(frame):
            raise FramingError(
                f"{self}: the length field says that the frame has {total} bytes, "
                f"it has {len(frame)}: {shown(frame)}"
            )
        return frame

    def __str__(self) -> str:
        keys = [f"at={self.at}"] if self.at else []
        keys += [f"order={self.order}"] if self.order != "big" else []
        keys += [f"extra={self.extra}"] if self.extra else []
        return ",".join([f"length-prefixed:{self.size}", *keys])


@final
@attrs.frozen
class Fixed(BuiltInFraming):
    """Made by `fixed`."""

    size: int

    def __attrs_post_init__(self) -> None:
        checked_integer("the size of a frame", self.size, 1, _MAX_NUMBER)

    def new_search(self) -> _FixedSearch:
        """Return a search that begins with the first byte of a stream."""
        return _FixedSearch(self.size)

    def join(self, frame: bytes) -> bytes:
        """Return the frame.

        Raises:
            FramingError: it has another size.
        """
        frame = checked_frame(frame)
        if len(frame) != self.size:
            raise FramingError(f"{self}: a frame has {self.size} bytes, got {len(frame)}")
        return frame

    def __str__(self) -> str:
        return f"fixed:{self.size}"


def length_prefixed(
    size: int, at: int = 0, extra: int = 0, order: ByteOrder = "big"
) -> LengthPrefixed:
    r"""Each frame says its length: ``at + size + value + extra`` bytes, where value is its field.

    Stubs see the payload, the bytes after the length field; with ``at`` or ``extra`` they see the
    whole frame, and a reply is a whole frame too, with its length field.

    Example: ``length_prefixed(2).split(b"\0\2hi\0")`` is ``([b"hi"], b"\0")``.

    DNS over TCP is ``length_prefixed(2)`` (RFC 1035, section 4.2.2), Modbus/TCP
    ``length_prefixed(2, at=4)``, Kafka ``length_prefixed(4)``, PostgreSQL after its start
    ``length_prefixed(4, at=1, extra=-4)``, as its length counts itself; TPKT (RFC 1006, section 6)
    ``length_prefixed(2, at=2, extra=-4)``, AMQP 0-9-1 ``length_prefixed(4, at=3, extra=1)``,
    as a byte follows the payload; MySQL ``length_prefixed(3, extra=1, order="little")``.

    Args:
        size: of the length field, 1 to 8 bytes.
        at: the bytes of a frame before its length field.
        extra: the bytes after the length field that its value does not count; negative where it
            counts bytes up to its own end.
        order: ``"big"`` (the default, network order) or ``"little"``.

    Raises:
        FramingError: a number out of range, or another order.
    """
    return LengthPrefixed(size, at, extra, order)


def fixed(n: int) -> Fixed:
    """Each frame has ``n`` bytes.

    Example: ``fixed(2).split(b"abcde")`` is ``([b"ab", b"cd"], b"e")``.

    Used by the Time protocol (4 bytes, RFC 868), RTP-like sensors and PLCs with records of one
    size, MPEG transport streams (188 bytes).

    Args:
        n: the size of a frame, at least 1 byte.

    Raises:
        FramingError: another number.
    """
    return Fixed(n)
