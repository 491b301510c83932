"""Waiting for calls: whoever waits says how many, and is told once they have come.

Each watch counts down, so that waiting costs a request little, however many calls there were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import attrs


@attrs.define(eq=False)
class Watch:
    """One wait.

    Attributes:
        service: whose calls; ``None`` is any.
        count: how many are waited for.
        missing: how many of them have yet to come.
        met: called once, when they have, or when nothing happens any more.
    """

    service: str | None
    count: int
    missing: int
    met: Callable[[], None]


class Watches:
    """All who wait."""

    def __init__(self) -> None:
        self._waiting: list[Watch] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, watch: Watch) -> None:
        """Let one wait."""
        self._waiting.append(watch)

    def remove(self, watch: Watch) -> None:
        """Let one wait no longer; it may have been met."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(watch)

    def see(self, service: str) -> None:
        """A service was called."""
        for watch in list(self._waiting):
            if watch.service in (None, service):
                watch.missing -= 1
                if not watch.missing:
                    self._waiting.remove(watch)
                    watch.met()

    def begin_anew(self) -> None:
        """What has come is forgotten, and counts no longer."""
        for watch in self._waiting:
            watch.missing = watch.count

    def end(self) -> None:
        """Nothing comes any more."""
        waiting, self._waiting = self._waiting, []
        for watch in waiting:
            watch.met()
