"""Give one target inputs for some time, and keep the first that it does not deal with."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

import attrs

from tests.fuzz.mutations import Corpus, inputs, smaller
from tests.fuzz.parsers import PARSERS, Check
from tests.fuzz.servers import SERVERS

NAMES = (*PARSERS, *SERVERS)
_SLOW = 2.0  # seconds of the processor for one input of at most 20 kB


@attrs.frozen
class Finding:
    """An input that was not dealt with as it should be.

    Attributes:
        error: what was raised; `None`: nothing, but it took too long.
    """

    data: bytes
    error: Exception | None


@contextlib.contextmanager
def opened(name: str) -> Iterator[tuple[Corpus, Check]]:
    """Yield what inputs of a target are made of, and what checks one."""
    if name in PARSERS:
        yield PARSERS[name].corpus, PARSERS[name].check
    else:
        with SERVERS[name].open() as check:
            yield SERVERS[name].corpus, check


def failure(check: Check, data: bytes) -> Finding | None:
    """Give one input; return what was wrong."""
    began = time.process_time()
    try:
        check(data)
    except Exception as error:  # noqa: BLE001 - each is a finding
        return Finding(data, error)
    return Finding(data, None) if time.process_time() - began > _SLOW else None


def run(
    name: str, seed: int, *, seconds: float = float("inf"), most: int | None = None
) -> tuple[int, Finding | None]:
    """Give a target inputs; return how many, and what was found first, made smaller.

    Args:
        seconds: how long.
        most: how many inputs; `None`: as many as there is time for.
    """
    count = 0
    with opened(name) as (corpus, check):
        end = time.monotonic() + seconds
        for data in inputs(corpus, random.Random(f"{name} {seed}")):
            if time.monotonic() > end or count == most:
                break
            count += 1
            found = failure(check, data)
            if found is not None:
                return count, _made_smaller(name, check, found)
    return count, None


def _made_smaller(name: str, check: Check, found: Finding) -> Finding:
    if name in SERVERS:
        return found  # it may have ended
    kind = type(found.error)

    def is_alike(data: bytes) -> bool:
        again = failure(check, data)
        return again is not None and type(again.error) is kind

    data = smaller(found.data, is_alike)
    return failure(check, data) or found
