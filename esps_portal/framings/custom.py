"""Reads frames with a user's own framing, of which only ``split`` and ``join`` are known.

``split`` returns the frames, but not which bytes each one took. So it is called with longer and
longer prefixes of the bytes until one contains a frame: the shortest such prefix ends with the last
byte of the frame, however the bytes arrived. The results are checked, since a test must not go on
with bytes that were lost or made up.
"""

from __future__ import annotations

from typing import Any, cast

from esps_portal.framings.framing import Frame, Framing, FramingError, quoted
from esps_portal.given_numbers import shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


def checked_framing(framing: object) -> Framing:
    """Return an object that has ``split`` and ``join``.

    Raises:
        FramingError: it has not.
    """
    found: Any = framing
    has_both = all(callable(getattr(found, name, None)) for name in ("split", "join"))
    # Text and bytes have methods of these names too.
    if not has_both or isinstance(found, type | str | bytes | bytearray):
        hint = "; call it" if callable(found) else "; esps_portal.testing has lines() and others"
        raise FramingError(
            f"a framing is an object with the methods split and join,"
            f" got {shown_value(found)}{hint}"
        )
    return cast("Framing", found)


class CustomReader:
    """Finds the next frames of a user's framing.

    Args:
        framing: it is called with `bytes` only.
        max_frame: in bytes; no longer start is asked about.
    """

    __slots__ = ("_framing", "_known", "_max_frame")

    def __init__(self, framing: Framing, max_frame: int) -> None:
        self._framing = framing
        self._max_frame = max_frame
        # How many of the first bytes are known to hold no whole frame.
        self._known = 0

    def read(self, buffer: bytearray, start: int) -> list[Frame]:
        """Return the next frame, or those that end with the same byte; none if none is whole.

        Raises:
            FramingError: the framing misbehaves.
        """
        available = bytes(buffer[start : start + self._max_frame])
        size = self._shortest(available)
        if size is None:
            self._known = max(self._known, len(available))
            return []
        self._known = 0
        data = available[:size]
        payloads, rest = self._split(data)
        consumed = data[: len(data) - len(rest)]
        if not consumed:
            raise FramingError(f"split() of {self._framing!r} found a frame that takes no bytes")
        return self._divide(payloads, consumed)

    def _shortest(self, data: bytes) -> int | None:
        """Return the size of the shortest start of ``data`` that holds a frame.

        The starts grow by doubled steps, then the last step is halved: a chunk with a thousand
        frames costs a few calls for each, and one byte more costs one call.
        """
        none, step = self._known, 1
        while none < len(data):
            size = min(none + step, len(data))
            if self._split(data[:size])[0]:
                break
            none, step = size, 2 * step
        else:
            return None
        while size - none > 1:
            middle = (none + size) // 2
            if self._split(data[:middle])[0]:
                size = middle
            else:
                none = middle
        return size

    def _divide(self, payloads: list[bytes], consumed: bytes) -> list[Frame]:
        if len(payloads) == 1:
            return [Frame(payloads[0], consumed)]
        # One byte has ended several frames.
        wires = [self._join(payload) for payload in payloads]
        if b"".join(wires) != consumed:
            # Which frame the bytes belong to is not known. They pass once, with the first.
            wires = [consumed, *[b""] * (len(payloads) - 1)]
        return [Frame(payload, wire) for payload, wire in zip(payloads, wires, strict=True)]

    def _join(self, payload: bytes) -> bytes:
        try:
            return bytes(self._framing.join(payload))
        except Exception as error:
            raise FramingError(f"join() of {self._framing!r} raised {error!r}") from error

    def _split(self, data: bytes) -> tuple[list[bytes], bytes]:
        try:
            found: object = self._framing.split(data)
        except FramingError:
            raise
        except Exception as error:
            raise FramingError(f"split() of {self._framing!r} raised {error!r}") from error
        try:
            frames, rest = _checked_result(found)
        except FramingError as error:
            raise FramingError(f"split() of {self._framing!r} {error}") from None
        if not data.endswith(rest):
            raise FramingError(
                f"split() of {self._framing!r} returned a rest that is not the end of the bytes: "
                f"{quoted(rest)}"
            )
        return frames, rest


def _checked_result(found: object) -> tuple[list[bytes], bytes]:
    match found:
        case (list() | tuple() as frames, bytes() | bytearray() | memoryview() as rest):
            pass
        case _:
            raise FramingError(f"must return a list of frames and the rest, got {_kind(found)}")
    for frame in frames:
        if not isinstance(frame, bytes | bytearray | memoryview):
            raise FramingError(f"must return frames of bytes, got {_kind(frame)}")
    return [bytes(frame) for frame in frames], bytes(rest)


def _kind(value: object) -> str:
    if isinstance(value, tuple):
        return f"a tuple of {', '.join(type(item).__name__ for item in value) or 'nothing'}"
    return type(value).__name__
