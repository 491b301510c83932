"""The passes of trio's loop: in each, every task that is ready runs once."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import trio


class Passes(trio.abc.Instrument):
    """Counts them, and what happens in each.

    Attributes:
        number: of this one.
    """

    number: int = 0

    def __init__(self) -> None:
        self._seen: defaultdict[int, set[object]] = defaultdict(set)

    def after_io_wait(self, _: float) -> None:
        self.number += 1

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count them while a block runs."""
        trio.lowlevel.add_instrument(self)
        try:
            yield
        finally:
            trio.lowlevel.remove_instrument(self)

    def note(self, what: object) -> None:
        """Note something that happens in this pass."""
        self._seen[self.number].add(what)

    @property
    def most(self) -> int:
        """How many different things happened in one pass, at the most."""
        return max((len(seen) for seen in self._seen.values()), default=0)

    @property
    def count(self) -> int:
        """How many things happened, each counted once for each pass."""
        return sum(len(seen) for seen in self._seen.values())
