"""Inputs that are nearly right: examples, cut and mixed, with words of the protocol in them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import attrs

_MOST = 20_000  # bytes of an input
_BYTES = (0, 9, 10, 13, 32, 34, 35, 37, 42, 91, 123, 127, 128, 255)


@attrs.frozen
class Corpus:
    """What inputs are made of.

    Attributes:
        examples: inputs that are right, and some that are not.
        words: what means something there.
    """

    examples: Sequence[bytes]
    words: Sequence[bytes] = ()


def inputs(corpus: Corpus, rng: random.Random) -> Iterator[bytes]:
    """Yield the examples, then what becomes of them, without end."""
    yield from corpus.examples
    while True:
        data = rng.choice(corpus.examples)
        for _ in range(rng.choice((1, 1, 2, 3, 5, 9))):
            data = rng.choice(_MUTATIONS)(data, corpus, rng)
        yield data[:_MOST]


def _place(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64)))


def _change(data: bytes, _: Corpus, rng: random.Random) -> bytes:
    start, _end = _place(data, rng)
    byte = rng.choice((*_BYTES, rng.randrange(256)))
    return data[:start] + bytes([byte]) + data[start + 1 :]


def _leave_out(data: bytes, _: Corpus, rng: random.Random) -> bytes:
    start, end = _place(data, rng)
    return data[:start] + data[end:]


def _repeat(data: bytes, _: Corpus, rng: random.Random) -> bytes:
    start, end = _place(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 2, 10, 500)) + data[end:]


def _insert(data: bytes, corpus: Corpus, rng: random.Random) -> bytes:
    start, _end = _place(data, rng)
    word = rng.choice(corpus.words) if corpus.words else bytes([rng.choice(_BYTES)])
    return data[:start] + word + data[start:]


def _splice(data: bytes, corpus: Corpus, rng: random.Random) -> bytes:
    other = rng.choice(corpus.examples)
    return data[: _place(data, rng)[0]] + other[_place(other, rng)[0] :]


def _cut(data: bytes, _: Corpus, rng: random.Random) -> bytes:
    return data[: _place(data, rng)[0]]


def _number(data: bytes, _: Corpus, rng: random.Random) -> bytes:
    start, end = _place(data, rng)
    number = rng.choice((-1, 0, 1, 255, 65536, 2**31, 2**63, 2**64, 10**400))
    return data[:start] + b"%d" % number + data[end:]


_MUTATIONS: tuple[Callable[[bytes, Corpus, random.Random], bytes], ...] = (
    _change,
    _leave_out,
    _repeat,
    _insert,
    _splice,
    _cut,
    _number,
)


def pieces(data: bytes, rng: random.Random) -> list[bytes]:
    """Cut an input at some places, or at none."""
    at = sorted(rng.randint(0, len(data)) for _ in range(rng.choice((0, 1, 2, 5))))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


def smaller(data: bytes, fails: Callable[[bytes], bool]) -> bytes:
    """Return a part of an input that still fails: pieces are left out, ever smaller ones."""
    size = len(data) // 2
    while size:
        start = 0
        while start < len(data):
            shorter = data[:start] + data[start + size :]
            if fails(shorter):
                data = shorter
            else:
                start += size
        size //= 2
    return data
