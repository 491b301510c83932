"""Connections begin in the order of their places, whichever task is ready first."""

from __future__ import annotations

from functools import partial

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from esps_portal.net.dial_order import DialOrder, DialPlace


class Begun:
    """Three places, and which of them have begun."""

    def __init__(self, nursery: trio.Nursery) -> None:
        order = DialOrder()
        self.places = [order.take() for _ in range(3)]
        self.order: list[int] = []
        self._nursery = nursery

    async def ready(self, number: int) -> trio.CancelScope:
        """Have one get ready; return what cancels it."""
        scope = trio.CancelScope()
        self._nursery.start_soon(self._begin, self.places[number], number, scope)
        await wait_all_tasks_blocked()
        return scope

    async def _begin(self, place: DialPlace, number: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await place.begin(partial(self.order.append, number))
            finally:
                place.leave()


async def test_the_order_of_places_counts(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        begun = Begun(nursery)
        await begun.ready(2)
        await begun.ready(1)
        assert begun.order == []
        await begun.ready(0)
        assert begun.order == [0, 1, 2]
        assert trio.current_time() == 0


async def test_nobody_waits_for_one_that_has_left(nursery: trio.Nursery) -> None:
    begun = Begun(nursery)
    begun.places[0].leave()
    await begun.ready(1)
    assert begun.order == [1]
    begun.places[2].leave()
    begun.places[2].leave()


async def test_nobody_waits_for_one_that_is_cancelled(nursery: trio.Nursery) -> None:
    begun = Begun(nursery)
    scope = await begun.ready(1)
    await begun.ready(2)
    scope.cancel()
    await wait_all_tasks_blocked()
    begun.places[0].leave()
    assert begun.order == [2]


async def test_one_that_takes_long_is_not_waited_for(mock_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        begun = Begun(nursery)
        await begun.ready(1)
        mock_clock.jump(0.5)
        await begun.ready(2)
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        assert begun.order == [1]
        mock_clock.jump(0.5)
        await wait_all_tasks_blocked()
        assert begun.order == [1, 2]
        await begun.ready(0)
        assert begun.order == [1, 2, 0]
