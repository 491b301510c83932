"""Encodes JSON in blocks while it is sent: a journal may be larger than memory should hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain

# Characters that are made at once: other tasks get a turn after them.
_BLOCK = 32_768


def json_blocks(value: object) -> Iterator[bytes]:
    """Yield a value as JSON, with LF at its end.

    It is ASCII without control bytes, since a shell prints it on a terminal.

    Args:
        value: what `json.dumps` takes. An iterator, also as a value of a dict, is an array.
    """
    block: list[str] = []
    size = 0
    for piece in chain(_pieces(value), "\n"):
        block.append(piece)
        size += len(piece)
        if size >= _BLOCK:
            yield "".join(block).encode()
            block.clear()
            size = 0
    if block:
        yield "".join(block).encode()


def _pieces(value: object) -> Iterator[str]:
    if isinstance(value, Iterator):
        before = "["
        for item in value:
            yield before + _dumps(item)
            before = ","
        yield "[]" if before == "[" else "]"
    elif isinstance(value, dict) and value:
        before = "{"
        for key, item in value.items():
            yield f"{before}{_dumps(key)}:"
            yield from _pieces(item)
            before = ","
        yield "}"
    else:
        yield _dumps(value)


def _dumps(value: object) -> str:
    # JSON leaves DEL as it is, which is a control byte too.
    return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")
