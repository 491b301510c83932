"""Waiting for calls; the rest is tested where somebody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.testing.waiting import Wait

_Result = TypeVar("_Result")


class SameThread:
    """A loop that is this thread."""

    def run(self, function: Callable[[], _Result]) -> _Result:
        return function()


async def test_what_is_waited_for_may_happen_when_whoever_waited_has_just_given_up() -> None:
    waiters = Waiters()
    kept: list[Callable[[], None]] = []

    def begin(met: Callable[[], None]) -> Waiter:
        kept.append(met)
        return waiters.begin("echo", 1, 0, met)

    assert not await Wait(SameThread(), waiters, begin).pause(0)
    assert not waiters
    kept[0]()  # it was on its way
    assert not Wait(SameThread(), waiters, begin).block(0)
