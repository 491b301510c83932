"""Waits for something to happen a number of times.

Each waiter counts events as they happen, so waiting costs little, however much has happened before.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

import attrs

_Thing = TypeVar("_Thing")


@attrs.define(eq=False)
class Waiter:
    """A wait for events of one subject, or of any.

    Attributes:
        subject: the service that is to be called, or the fault that is to strike; ``None``: any.
        count: how often it is to happen.
        met: called once, when it has happened that often, or when nothing more will happen.
        happened: how often it has happened.
        is_abandoned: ``met`` was called by `Waiters.abandon`.
    """

    subject: Hashable
    count: int
    met: Callable[[], None]
    happened: int = 0
    is_abandoned: bool = False

    def note(self, subject: object) -> bool:
        """Count an event if it is one of these; return whether enough have happened."""
        self.happened += self.subject in (None, subject)
        return self.is_met

    @property
    def is_met(self) -> bool:
        """Whether enough have happened."""
        return self.happened >= self.count

    def restart(self) -> None:
        """Count from 0 again."""
        self.happened = 0


@attrs.define(eq=False)
class MatchWaiter(Generic[_Thing]):
    """A wait for different things of one kind that match.

    Attributes:
        matches: asked about each thing as it changes.
        count: how many are to match.
        met, is_abandoned: as those of `Waiter`.
        matched: those that have.
    """

    matches: Callable[[_Thing], bool]
    count: int
    met: Callable[[], None]
    matched: set[_Thing] = attrs.field(factory=set)
    is_abandoned: bool = False

    @classmethod
    def over(
        cls,
        things: Iterable[_Thing],
        matches: Callable[[_Thing], bool],
        count: int,
        met: Callable[[], None],
    ) -> MatchWaiter[_Thing]:
        """Return a waiter that has counted the things that there are already."""
        waiter = cls(matches, count, met)
        for thing in things:
            waiter.note(thing)
        return waiter

    def note(self, thing: _Thing) -> bool:
        """Count a thing if it matches; return whether enough have."""
        if thing not in self.matched and self.matches(thing):
            self.matched.add(thing)
        return self.is_met

    @property
    def is_met(self) -> bool:
        """Whether enough have matched."""
        return len(self.matched) >= self.count

    def restart(self) -> None:
        """Count from 0 again."""
        self.matched.clear()


AnyWaiter = Waiter | MatchWaiter[Any]
_Waiter = TypeVar("_Waiter", Waiter, MatchWaiter[Any])


class Waiters:
    """All who wait for events, or for things, of one kind.

    Attributes:
        waiting: those whose wait has not ended; always the same list.
    """

    def __init__(self) -> None:
        self.waiting: list[AnyWaiter] = []
        self._has_ended = False

    def add(self, waiter: _Waiter) -> _Waiter:
        """Call ``met`` of a waiter once that is so: maybe at once."""
        if waiter.is_met or self._has_ended:
            waiter.met()
        else:
            self.waiting.append(waiter)
        return waiter

    def remove(self, waiter: AnyWaiter) -> None:
        """End one wait; it may have ended already."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(waiter)

    def notify(self, thing: object) -> None:
        """Have all count one more event of this subject, or a thing that has changed."""
        for waiter in list(self.waiting):
            if waiter.note(thing):
                self.waiting.remove(waiter)
                waiter.met()

    def restart(self) -> None:
        """Count from 0 again: what has happened no longer counts."""
        for waiter in self.waiting:
            waiter.restart()

    def abandon(self) -> None:
        """End every wait: what happens from now on is about others."""
        for waiter in self.waiting:
            waiter.is_abandoned = True
        self._end_all()

    def end(self) -> None:
        """End every wait: nothing more will happen."""
        self._has_ended = True
        self._end_all()

    def _end_all(self) -> None:
        waiting = self.waiting.copy()
        self.waiting.clear()
        for waiter in waiting:
            waiter.met()
