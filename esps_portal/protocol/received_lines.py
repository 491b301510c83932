"""Received lines that are not read yet. They are read one at a time, or plain requests in bulk.

Nearly every line is a plain request: a PING or a CALL that needs no decoding and means the same on
every open connection. One regular expression finds all plain requests of a piece of input at once,
in C, and leaves the other lines to `messages.parse_request_untrusted`. Both ways read from here.
"""

from __future__ import annotations

from itertools import takewhile
from operator import itemgetter

from esps_portal.protocol import grammar
from esps_portal.protocol.lines import LineEvent, LongLineEvent
from esps_portal.protocol.messages import Request

#: The tag of a PING or a CALL, the name of its service (empty: a PING), its arguments, each with
#: the SP before it, the CR before its LF, if it has one, and a fifth value that is always empty.
PlainRequest = tuple[bytes, bytes, bytes, bytes, bytes]

#: A line as it is found: a plain request; or, in the fifth place, any other line: it has no tag.
FoundLine = tuple[bytes, bytes, bytes, bytes, LineEvent]
#: Whether what was found is a plain request.
is_plain: itemgetter[int] = itemgetter(0)
_find_lines = grammar.FIND_PLAIN.findall

# So many bytes are looked through at once, and on to the next LF. What is found takes more memory
# than the bytes: about 90 KB for 1024 lines of one character.
_PIECE_SIZE = 2048


def plain_to_request(plain: PlainRequest) -> Request:
    """Return the request that `messages.parse_request_untrusted` finds in the line."""
    tag, name, tokens, cr, _ = plain
    args = tuple(tokens.split())
    length = len(tag) + len(tokens) + len(cr) + len(b" PING\n")
    if not name:
        return Request(tag, b"PING", args, plain=True, length=length)
    return Request(tag, b"CALL", (name, *args), plain=True, length=length + 1 + len(name))


def plain_to_line(plain: PlainRequest) -> bytes:
    """Return the line as it came, without its LF."""
    tag, name, tokens, cr, _ = plain
    if name:
        return b"%b CALL %b%b%b" % (tag, name, tokens, cr)
    return b"%b PING%b%b" % (tag, tokens, cr)


class ReceivedLines:
    r"""An iterator over lines, of which each run of empty ones counts as part of the line before.

    Example::

        received.add([b"1 PING\n2 CALL echo hi\n3 LIST\n"])
        requests = received.peek_plain(100)
        # [(b"1", b"", b"", b"", b""), (b"2", b"echo", b" hi", b"", b"")]
        received.skip(len(requests))
        next(received)  # b"3 LIST"
    """

    __slots__ = ("_block", "_blocks", "_found", "_next", "_piece", "_start")

    def __init__(self) -> None:
        # What is not searched yet: the rest of this block, from this index on, then these blocks.
        self._block = b""
        self._start = 0
        self._blocks: list[bytes | LongLineEvent] = []
        # A piece of it, what was found there, and which line is read next. None: there is none.
        self._piece = b""
        self._found: list[FoundLine] = []
        self._next = 0

    def add(self, blocks: list[bytes | LongLineEvent]) -> None:
        """Add what `LineSplitter.feed_blocks` has returned."""
        self._blocks += blocks
        if blocks and not self._found:
            self._find_more()

    def add_block(self, block: bytes) -> None:
        """Add whole lines, each with its LF, where there is nothing to read."""
        if len(block) <= _PIECE_SIZE:
            self._piece, self._found = block, _find_lines(block)
        else:
            self._block, self._start = block, 0
            self._find_more()

    @property
    def buffered(self) -> int:
        """How many bytes wait, besides a piece of at most some kilobytes."""
        if not (self._block or self._blocks):
            return 0  # nearly always
        later = sum(len(block) for block in self._blocks if isinstance(block, bytes))
        return len(self._block) - self._start + later if self._block else later

    def __bool__(self) -> bool:
        """Whether there is one to read."""
        return bool(self._found)

    def __iter__(self) -> ReceivedLines:
        return self

    def __next__(self) -> LineEvent:
        if not self._found:
            raise StopIteration
        found = self._found[self._next]
        self.skip(1)
        return plain_to_line(found) if found[0] else found[4]  # type: ignore[arg-type]  # it has a tag

    def unread(self, line: LineEvent) -> None:
        """Put back the line that was taken last."""
        self._found.insert(self._next, (b"", b"", b"", b"", line))

    def peek_plain(self, limit: int) -> list[PlainRequest]:
        """Return the plain requests that come next, at most ``limit``; they stay unread."""
        coming = self._found[self._next : self._next + limit]
        if not coming or not coming[0][0]:
            return []
        if len(coming) == 1:
            return coming  # type: ignore[return-value]  # it has a tag, so it is one
        return list(takewhile(is_plain, coming))  # type: ignore[arg-type]  # the same

    def text_of(self, count: int) -> bytes:
        """Return so many of what `peek_plain` has returned, as it came: lines with their LF."""
        if count == len(self._found):  # nearly always: they are the whole piece
            return self._piece
        requests = self._found[self._next : self._next + count]
        return b"".join([plain_to_line(request) + b"\n" for request in requests])  # type: ignore[arg-type]  # they have tags

    def skip(self, count: int) -> None:
        """Take lines that `peek_plain` has returned as read."""
        self._next += count
        if self._next == len(self._found):
            if self._block or self._blocks:
                self._find_more()
            else:
                self._piece, self._found, self._next = b"", [], 0

    def _find_more(self) -> None:
        """Look through the next piece; there is one."""
        self._next = 0
        if not self._block:
            block = self._blocks.pop(0)
            if not isinstance(block, bytes):
                self._piece, self._found = b"", [(b"", b"", b"", b"", block)]
                return
            self._block, self._start = block, 0
        end = self._block.find(b"\n", self._start + _PIECE_SIZE) + 1 or len(self._block)
        self._piece = self._block[self._start : end]
        self._found = _find_lines(self._piece)
        self._start = end
        if end == len(self._block):
            self._block = b""
