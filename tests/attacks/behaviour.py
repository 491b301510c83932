"""What hostile connections do, and what they meet."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import attrs

End = Literal["close", "reset", "vanish"]


@attrs.frozen
class Behaviour:
    """What a hostile connection does.

    Attributes:
        first: what it sends as soon as it is connected.
        again: what it then sends over and over.
        pause: seconds between two pieces of ``again``; 0: as fast as they are taken.
        piece: bytes of ``again`` in a piece, when it pauses.
        reads: bytes in a read; 0: it never reads.
        read_pause: seconds between two reads; 0: it reads what comes.
        until: it ends when this has come; empty: as soon as ``first`` is sent; `None`: never.
        end: how it ends: with FIN, with RST, or without a word.
        half_closes: whether it sends FIN after ``first``.
        returns: whether it connects again after its end, or the server's.
        buffer: bytes of its receive buffer; 0: as the system has it.
    """

    first: bytes = b""
    again: bytes = b""
    pause: float = 0.0
    piece: int = 1
    reads: int = 65536
    read_pause: float = 0.0
    until: bytes | None = None
    end: End = "close"
    half_closes: bool = False
    returns: bool = False
    buffer: int = 0


@attrs.define
class Tally:
    """What the connections met.

    Attributes:
        opened: connections that were established.
        refused: connects that failed.
        ended: connections that the server ended.
        most: connections that were open at a time.
        sent, received: bytes.
        lines: of what was received.
        last: how often each last line came, of those that the server ended.
    """

    opened: int = 0
    refused: int = 0
    ended: int = 0
    most: int = 0
    sent: int = 0
    received: int = 0
    lines: int = 0
    last: Counter[str] = attrs.field(factory=Counter)
