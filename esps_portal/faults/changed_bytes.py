"""Changes bytes of a piece of a stream, or of a datagram."""

from __future__ import annotations

import random


def overwrite(data: bytes, start: int, replacement: bytes) -> bytes:
    """Replace bytes from ``start``, which may be before or after ``data``; the length stays."""
    end = start + len(replacement)
    if end <= 0 or start >= len(data):
        return data
    inside = replacement[max(0, -start) : len(data) - start]
    return data[: max(0, start)] + inside + data[end:]


def corrupt(data: bytes, count: int, seed: int) -> bytes:
    """Change some bytes, at places that the seed chooses; the length stays."""
    changed = bytearray(data)
    numbers = random.Random(seed)  # noqa: S311 - for tests, not secrets
    for position in numbers.sample(range(len(changed)), min(count, len(changed))):
        changed[position] ^= numbers.randrange(1, 256)
    return bytes(changed)
