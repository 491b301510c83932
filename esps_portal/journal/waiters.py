"""Waiting for what happens: whoever waits says how often, and is notified once it has.

Each watch counts down, so that waiting costs little, however much has happened before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable

import attrs


@attrs.define(eq=False)
class Waiter:
    """One wait.

    Attributes:
        subject: a service that is called, a fault that strikes; ``None`` is any.
        count: how often it is to happen.
        missing: how often it has yet to happen.
        met: called once, when it has, or when nothing happens any more.
    """

    subject: Hashable
    count: int
    missing: int
    met: Callable[[], None]


class Waiters:
    """All who wait."""

    def __init__(self) -> None:
        self._waiting: list[Waiter] = []
        self._has_ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    def begin(
        self, subject: Hashable, count: int, happened: int, met: Callable[[], None]
    ) -> Waiter:
        """Have ``met`` called, once, when it has happened ``count`` times; see `Waiter`.

        Args:
            happened: how often it has already.
        """
        watch = Waiter(subject, count, count - happened, met)
        if watch.missing <= 0 or self._has_ended:
            met()
        else:
            self._waiting.append(watch)
        return watch

    def remove(self, watch: Waiter) -> None:
        """Let one wait no longer; it may have been met."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(watch)

    def see(self, subject: Hashable) -> None:
        """It has happened once more."""
        for watch in list(self._waiting):
            if watch.subject in (None, subject):
                watch.missing -= 1
                if not watch.missing:
                    self._waiting.remove(watch)
                    watch.met()

    def begin_anew(self) -> None:
        """What has happened is forgotten, and counts no longer."""
        for watch in self._waiting:
            watch.missing = watch.count

    def end(self) -> None:
        """Nothing happens any more."""
        self._has_ended = True
        waiting, self._waiting = self._waiting, []
        for watch in waiting:
            watch.met()
