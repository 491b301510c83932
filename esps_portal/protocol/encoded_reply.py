"""A UDP reply as bytes: all its lines in one datagram, or the error that replaces a long one.

The bounds are those of the specification, section 7.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import ERR, Notice, Reply, error_reply
from esps_portal.protocol.registry import ERRORS, ErrorCode


@attrs.define
class EncodedReply:
    """All lines of a reply, and what replaces them where they do not fit.

    Attributes:
        lines: the datagram; empty if it is longer than may be sent.
        size: length of all lines in bytes, even if they are not made.
        error_without_text: the final line without its text; ``None``: it is not an error.
    """

    tag: bytes
    lines: bytes
    size: int
    error_without_text: bytes | None

    @classmethod
    def encode(cls, replies: Sequence[Reply | Notice], tag: bytes, max_size: int) -> EncodedReply:
        """Encode and join lines, if together they are not longer than ``max_size``."""
        size = sum([reply.size for reply in replies])
        lines = b"".join([reply.encode() for reply in replies]) if size <= max_size else b""
        return cls(tag, lines, size, _error_without_text(replies[-1]))

    def clamp(self, request_size: int, limits: Limits) -> bytes | None:
        """Return the datagram to send for a request of ``request_size`` bytes, if one may be."""
        room = min(limits.amplification * request_size, limits.max_datagram)
        if self.size <= room:
            return self.lines
        if self.error_without_text is not None:
            candidates = [self.error_without_text]
        else:
            too_large = self._too_large(limits)
            candidates = [too_large.encode(), too_large.without_text(1).encode()]
        return next((line for line in candidates if len(line) <= room), None)

    def _too_large(self, limits: Limits) -> Reply:
        needed = -(-self.size // limits.amplification)  # rounded up
        # A request of more than max_line bytes gets too-long: no padding helps.
        if self.size > limits.max_datagram or needed > limits.max_line:
            return error_reply(self.tag, "too-large", "0", "use-tcp")
        return error_reply(self.tag, "too-large", str(needed), "pad the request to that")


def _error_without_text(line: Reply | Notice) -> bytes | None:
    """Return an error without its text; the one notice that UDP has is sent without text."""
    if isinstance(line, Notice):
        return line.encode()
    if line.kind != ERR:
        return None
    known = known_error(line)
    return line.without_text(known.machine_arguments if known else 0).encode()


def known_error(error: Reply) -> ErrorCode | None:
    """Return the registry's entry for the code of an error; `None`: it has none."""
    return ERRORS.get(error.args[0].decode("ascii", "replace"))
