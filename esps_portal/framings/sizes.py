"""Frames whose size is known: from a length field, or always the same."""

from __future__ import annotations

from typing import Literal, final

import attrs

from esps_portal.framings.framing import (
    BuiltInFraming,
    FramingError,
    checked_frame,
    checked_integer,
    quoted,
)
from esps_portal.framings.length_fields import ByteOrder, FixedField, LengthField, VarintField
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# No protocol has longer headers, or longer frames of fixed size, and arithmetic stays cheap.
_MAX_NUMBER = (1 << 31) - 1


class _LengthSearch:
    """Reads the length field as soon as it is whole."""

    __slots__ = ("_framing",)

    def __init__(self, framing: LengthPrefixed) -> None:
        self._framing = framing

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        return self._framing.end_of(buffer, start, stop)


class _FixedSearch:
    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    def find_end(self, _buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        return start + self._size if stop - start >= self._size else None


def _length_field(size: int | str, order: ByteOrder) -> LengthField:
    if not isinstance(size, str):
        return FixedField(size, order)
    if size != "varint":
        raise FramingError(f"size must be a number of bytes or 'varint', got {quoted(size)}")
    return VarintField(order)


@final
@attrs.frozen
class LengthPrefixed(BuiltInFraming):
    """Made by `length_prefixed`."""

    size: int | Literal["varint"]
    at: int = 0
    extra: int = 0
    order: ByteOrder = "big"
    _field: LengthField = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_field", _length_field(self.size, self.order))
        checked_integer("at", self.at, 0, _MAX_NUMBER)
        checked_integer("extra", self.extra, None, _MAX_NUMBER)

    @property
    def shows_whole_frame(self) -> bool:
        """Whether stubs see the whole frame, not its payload alone."""
        return bool(self.at or self.extra)

    def end_of(self, buffer: bytes | bytearray, start: int, stop: int) -> int | None:
        """Return where the frame ends that begins at ``start``; ``None``: not known yet.

        Raises:
            FramingError: its length field is not valid, or it would end before that field does.
        """
        try:
            found = self._field.read(buffer, start + self.at, stop)
        except FramingError as error:
            raise FramingError(f"{self}: {error}") from None
        if found is None:
            return None
        value, after = found
        if value + self.extra < 0:
            raise FramingError(
                f"{self}: the length field says {value}: "
                f"with extra={self.extra} the frame would end before its length field does"
            )
        return after + value + self.extra

    def new_search(self) -> _LengthSearch:
        """Return a search that begins with the first byte of a stream."""
        return _LengthSearch(self)

    def payload_of(self, wire: bytes) -> bytes:
        """Return the bytes after the length field, or the whole frame."""
        if self.shows_whole_frame:
            return wire
        found = self._field.read(wire, 0, len(wire))
        return b"" if found is None else wire[found[1] :]

    def join(self, frame: bytes) -> bytes:
        """Return the frame with its length field; a frame that is shown whole has its own.

        Raises:
            FramingError: the frame is too long for its length field, or its own field is wrong.
        """
        frame = checked_frame(frame)
        if not self.shows_whole_frame:
            field = self._field.write(len(frame))
            if field is None:
                most = self._field.largest
                raise FramingError(f"{self}: a frame has at most {most} bytes, got {len(frame)}")
            return field + frame
        end = self.end_of(frame, 0, len(frame))
        if end is None:
            least = self.at + (1 if isinstance(self.size, str) else self.size)
            raise FramingError(
                f"{self}: a frame has at least {least} bytes, its length field included, "
                f"got {quoted(frame)}"
            )
        if end != len(frame):
            raise FramingError(
                f"{self}: the length field says that the frame has {end} bytes, "
                f"it has {len(frame)}: {quoted(frame)}"
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
    size: int | Literal["varint"], at: int = 0, extra: int = 0, order: ByteOrder = "big"
) -> LengthPrefixed:
    r"""Each frame says its length: ``at + size + value + extra`` bytes, where value is its field.

    Stubs see the payload, the bytes after the length field; with ``at`` or ``extra`` they see the
    whole frame, and a reply is a whole frame too, with its length field.

    Example: ``length_prefixed(2).split(b"\0\2hi\0")`` is ``([b"hi"], b"\0")``.

    DNS over TCP is ``length_prefixed(2)`` (RFC 1035, section 4.2.2), Modbus/TCP
    ``length_prefixed(2, at=4)``, MQTT ``length_prefixed("varint", at=1)``, Kafka
    ``length_prefixed(4)``, PostgreSQL after its start ``length_prefixed(4, at=1, extra=-4)``, as
    its length counts itself; TPKT (RFC 1006, section 6) ``length_prefixed(2, at=2, extra=-4)``,
    AMQP 0-9-1 ``length_prefixed(4, at=3, extra=1)``, as a byte follows the payload; MySQL
    ``length_prefixed(3, extra=1, order="little")``, messages of protobuf in a stream
    ``length_prefixed("varint")``.

    Args:
        size: of the length field, 1 to 8 bytes; ``"varint"``: 1 to 5 bytes, 7 bits each, the lowest
            first, where the high bit says that another byte follows.
        at: the bytes of a frame before its length field.
        extra: the bytes after the length field that its value does not count; negative where it
            counts bytes up to its own end.
        order: ``"big"`` (the default, network order) or ``"little"``; not for a varint.

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
