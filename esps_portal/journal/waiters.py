"""Waiting for something to happen a number of times.

Each waiter counts down, so that waiting costs little, however much has happened before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable
from typing import Protocol, TypeVar

import attrs

_Waiter_contra = TypeVar("_Waiter_contra", contravariant=True)


class AnyWaiters(Protocol[_Waiter_contra]):
    """`Waiters` or `MatchWaiters`: whatever is waited for, a wait ends by being removed."""

    def remove(self, waiter: _Waiter_contra) -> None:
        """Wait no more."""


@attrs.define(eq=False)
class Waiter:
    """One wait.

    Attributes:
        subject: the service that is to be called, or the fault that is to strike; ``None``: any.
        count: how often it is to happen.
        missing: how often it is still to happen.
        met: called once, when it has happened so often, or when nothing more will happen.
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

    def add(self, subject: Hashable, count: int, happened: int, met: Callable[[], None]) -> Waiter:
        """Have ``met`` called, once, when it has happened ``count`` times; see `Waiter`.

        Args:
            happened: how often it has happened already.
        """
        waiter = Waiter(subject, count, count - happened, met)
        if waiter.missing <= 0 or self._has_ended:
            met()
        else:
            self._waiting.append(waiter)
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """End one wait; it may have ended already."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(waiter)

    def notify(self, subject: Hashable) -> None:
        """Count one more event of a subject."""
        for waiter in list(self._waiting):
            if waiter.subject in (None, subject):
                waiter.missing -= 1
                if not waiter.missing:
                    self._waiting.remove(waiter)
                    waiter.met()

    def restart(self) -> None:
        """Count from 0 again: what has happened no longer counts."""
        for waiter in self._waiting:
            waiter.missing = waiter.count

    def end(self) -> None:
        """End every wait: nothing more will happen."""
        self._has_ended = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.met()


@attrs.define(eq=False)
class MatchWaiter:
    """A wait for several things that match; see `Waiter`.

    Attributes:
        matches: asked about each thing as it changes.
        counted: the things that have matched.
    """

    matches: Callable[[object], bool]
    count: int
    met: Callable[[], None]
    counted: set[object] = attrs.field(factory=set)

    def look_at(self, thing: object) -> bool:
        """Count a thing if it matches; return whether enough have."""
        if thing not in self.counted and self.matches(thing):
            self.counted.add(thing)
        return len(self.counted) >= self.count


class MatchWaiters:
    """All who wait for things that match."""

    def __init__(self) -> None:
        self._waiting: list[MatchWaiter] = []
        self._has_ended = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self,
        matches: Callable[[object], bool],
        count: int,
        things: Iterable[object],
        met: Callable[[], None],
    ) -> MatchWaiter:
        """Have ``met`` called, once, when ``count`` things have matched.

        Args:
            things: those that there are already.
        """
        waiter = MatchWaiter(matches, count, met)
        for thing in things:
            waiter.look_at(thing)
        if len(waiter.counted) >= count or self._has_ended:
            met()
        else:
            self._waiting.append(waiter)
        return waiter

    def remove(self, waiter: MatchWaiter) -> None:
        """End one wait; it may have ended already."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(waiter)

    def notify(self, thing: object) -> None:
        """Look at a thing that has changed."""
        for waiter in list(self._waiting):
            if waiter.look_at(thing):
                self._waiting.remove(waiter)
                waiter.met()

    def restart(self) -> None:
        """Count from 0 again."""
        for waiter in self._waiting:
            waiter.counted.clear()

    def end(self) -> None:
        """End every wait: nothing more will happen."""
        self._has_ended = True
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.met()
