"""A client's request that waits for its reply, and what has arrived of the reply."""

from __future__ import annotations

from collections import deque

import attrs

from esps_portal.protocol.errors import EspsError, ReplyError, SlowConsumerError
from esps_portal.protocol.messages import ERR, Reply
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Bytes of memory for a line besides its own: about a tuple and an object.
_LINE_OVERHEAD = 100


@attrs.define(eq=False)
class PendingRequest:
    """A request and the replies that have come.

    Attributes:
        line: the request as it is sent over TCP, and first over UDP: encoded.
        rows: arguments of the DATA lines that are not collected yet.
        final: the OK or ERR.
        failure: why the client has ended the call itself, if it has.
        buffered: what `rows` take, in bytes.
        paddings: how often the request was padded and sent again to make room for its reply.
    """

    tag: bytes
    line: bytes
    rows: deque[tuple[bytes, ...]] = attrs.field(factory=deque)
    final: Reply | None = None
    failure: EspsError | None = None
    buffered: int = 0
    paddings: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is a row to collect, or the call is over."""
        return bool(self.rows) or self.is_over

    @property
    def is_over(self) -> bool:
        """Whether the final reply has come or the client has ended the call."""
        return self.final is not None or self.failure is not None

    def add_row(self, row: tuple[bytes, ...], max_buffered: int) -> None:
        """Add a DATA line; if more than ``max_buffered`` bytes then wait, end the call."""
        self.rows.append(row)
        self.buffered += _size(row)
        if self.buffered > max_buffered:
            self.discard_rows()
            self.failure = SlowConsumerError(
                f"the call was ended: over {max_buffered} bytes of its lines were not read"
            )

    def collect(self) -> tuple[bytes, ...]:
        """Remove and return the next row."""
        row = self.rows.popleft()
        self.buffered -= _size(row)
        return row

    def discard_rows(self) -> None:
        """Drop the rows that have come."""
        self.rows.clear()
        self.buffered = 0

    def result(self) -> tuple[bytes, ...]:
        """Return the arguments of the final OK. Call it only when the call is over.

        Raises:
            ReplyError: the final reply is an ERR.
            SlowConsumerError: too many rows were not collected.
        """
        if self.failure is not None:
            raise self.failure
        assert self.final is not None  # noqa: S101 - the caller has waited for it
        if self.final.kind == ERR:
            code, *arguments = self.final.args
            raise ReplyError(code.decode(), *arguments)
        return self.final.args


def _size(row: tuple[bytes, ...]) -> int:
    return _LINE_OVERHEAD + sum(map(len, row))
