"""Bytes of a request that are copied into its reply, such as the id of a DNS query."""

from __future__ import annotations

from collections.abc import Sequence

from esps_portal.given_numbers import shown_value
from esps_portal.mock.answer_chain import StubError
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: The bytes of the request that are copied into the reply: the first, and the one after the last,
#: counted from 0.
Echo = tuple[int, int]


def checked_echoes(echo: object, frames: Sequence[bytes]) -> tuple[Echo, ...]:
    """Return what is copied, from one pair or several.

    Args:
        echo: as a test gave it; ``None``: nothing.
        frames: of the reply.

    Raises:
        StubError: it is not such a pair, or ends after the end of a frame.
    """
    if echo is None:
        return ()
    pairs = [echo] if _is_echo(echo) else echo
    if not isinstance(pairs, list | tuple) or not all(map(_is_echo, pairs)):
        raise StubError(
            f"echo must be (from, to), two places in the request, got {shown_value(echo)}"
        )
    for _, stop in pairs:
        for frame in frames:
            if stop > len(frame):
                raise StubError(
                    f"echo ends at"
                    f" {shown_value(stop)}, and a frame of the reply has {len(frame)} bytes"
                )
    return tuple((start, stop) for start, stop in pairs)


def echoed(frame: bytes, echoes: Sequence[Echo], request: bytes) -> bytes:
    """Return a frame with what is copied of a request."""
    for start, stop in echoes:
        copied = request[start:stop]
        frame = frame[:start] + copied + frame[start + len(copied) :]
    return frame


def _is_echo(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and [type(place) for place in value] == [int, int]
        and 0 <= value[0] < value[1]
    )
