"""What a framing is, and what those of this package share.

A framing knows neither the transport nor how the bytes were cut on their way. It gets bytes from
the start of a frame on, and says where the frame ends.
"""

from __future__ import annotations

import abc
from typing import Protocol

import attrs

from esps_portal.given_numbers import shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# How many bytes of a frame, or characters of a text, an error shows.
_SHOWN = 40


class FramingError(ValueError):
    """An invalid framing, bytes that are not a frame, or a frame that cannot be sent.

    Raised where a framing is made from wrong values or wrong text, by ``join`` for a frame that the
    other end would read as another one, and by a splitter for a frame that is too long.
    """


@attrs.frozen
class Frame:
    """One message of a stream.

    Attributes:
        payload: what stubs and selectors see, such as a line without its end.
        wire: all its bytes as they came.
    """

    payload: bytes
    wire: bytes


class Framing(Protocol):
    r"""How a protocol marks where one message ends: any object with these two methods.

    Example, messages that end with ``;`` (which `delimited` can do too)::

        class Semicolons:
            def split(self, buffer):
                *frames, rest = buffer.split(b";")
                return frames, rest

            def join(self, frame):
                return frame + b";"
    """

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """Return the whole frames at the start of ``buffer``, and the bytes after them.

        It depends on ``buffer`` alone, and more bytes after a frame do not change it.
        """
        ...

    def join(self, frame: bytes) -> bytes:
        """Return the bytes to send for a frame: `split` gives the frame back.

        Raises:
            FramingError: there are no such bytes.
        """
        ...


class FrameSearch(Protocol):
    """The search for the end of the current frame. It goes on where it stopped."""

    def find_end(self, buffer: bytes | bytearray, start: int, stop: int, /) -> int | None:
        """Return where the frame that begins at ``start`` ends; ``None``: not known yet.

        It looks at no byte from ``stop`` on. An end after ``stop`` may be known from a length
        field. Once an end up to ``stop`` is returned, the next call is about the next frame.

        Raises:
            FramingError: the bytes are not a frame.
        """
        ...


class BuiltInFraming(abc.ABC):
    """A framing of this package: the search for a frame's end looks at each byte about once."""

    __slots__ = ()

    @abc.abstractmethod
    def new_search(self) -> FrameSearch:
        """Return a search that begins with the first byte of a stream."""

    @abc.abstractmethod
    def join(self, frame: bytes) -> bytes:
        """Return the bytes to send for a frame."""

    def payload_of(self, wire: bytes) -> bytes:
        """Return what stubs see of a frame, from all its bytes."""
        return wire

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        """Return the whole frames at the start of ``buffer``, and the bytes after them.

        Raises:
            FramingError: the bytes are not a frame.
        """
        search = self.new_search()
        frames = []
        start, stop = 0, len(buffer)
        while (end := search.find_end(buffer, start, stop)) is not None and end <= stop:
            frames.append(self.payload_of(buffer[start:end]))
            start = end
        return frames, buffer[start:]


def checked_frame(frame: object) -> bytes:
    """Return a frame to be joined, as `bytes`."""
    if isinstance(frame, bytes | bytearray | memoryview):
        return bytes(frame)
    raise FramingError(f"a frame must be bytes, got {shown_value(frame)}")


def framing_name(framing: Framing) -> str:
    """Return a framing as the command line has it; a user's own as its repr."""
    return str(framing) if isinstance(framing, BuiltInFraming) else repr(framing)


def quoted(value: bytes | str) -> str:
    """Return the start of a frame or a text for an error message, quoted and escaped."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}..."


def checked_integer(name: str, value: object, minimum: int | None, maximum: int) -> int:
    """Return a number of a framing, checked: from ``minimum`` (``None``: any) to ``maximum``."""
    least = -maximum if minimum is None else minimum
    if type(value) is int and least <= value <= maximum:
        return value
    raise FramingError(
        f"{name} must be an integer from {least} to {maximum}, got {shown_value(value)}"
    )
