"""Turns: how many tasks work in a pass of the loop, and in what order."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from esps_portal.net.turns import TURNS_AT_ONCE, Turns
from tests.passes import Passes


@attrs.define
class Work:
    """Tasks that work in turn; each piece of work takes some seconds of a clock of its own."""

    passes: Passes = attrs.field(factory=Passes)
    now: float = 0.0
    #: Who worked, and in which pass.
    seen: list[tuple[object, int]] = attrs.field(factory=list)

    async def work(self, turns: Turns, who: object, times: int, takes: float = 0.0) -> None:
        for _ in range(times):
            await turns.next()
            self.now += takes
            self.seen.append((who, self.passes.number))

    async def begin(self, turns: Turns, who: object, takes: float = 0.0) -> None:
        await turns.begin()
        self.now += takes
        self.seen.append((who, self.passes.number))

    @property
    def most(self) -> int:
        """How many worked in one pass, at the most."""
        return max(Counter(number for _, number in self.seen).values())


@asynccontextmanager
async def working() -> AsyncIterator[tuple[Work, trio.Nursery]]:
    work = Work()
    with work.passes.counted(), trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            yield work, nursery


async def test_one_alone_has_a_turn_in_each_pass() -> None:
    async with working() as (work, _):
        await work.work(Turns(), "x", 10)
    passes = [number for _, number in work.seen]
    assert passes == list(range(passes[0], passes[0] + 10))


@pytest.mark.parametrize("count", [8, TURNS_AT_ONCE, 1000])
async def test_so_many_have_one_in_a_pass(count: int) -> None:
    async with working() as (work, nursery):
        turns = Turns(clock=lambda: work.now)
        for who in range(count):
            nursery.start_soon(work.work, turns, who, 5)
    assert len(work.seen) == 5 * count
    assert work.most == min(count, TURNS_AT_ONCE)
    # Nobody waits while there is room.
    passes = len({number for _, number in work.seen})
    assert passes <= 5 * -(-count // TURNS_AT_ONCE) + 1


async def test_a_pass_ends_once_turns_have_taken_so_long() -> None:
    async with working() as (work, nursery):
        turns = Turns(seconds=0.002, clock=lambda: work.now)
        for who in range(100):
            nursery.start_soon(work.work, turns, who, 3, 0.001)
    assert len(work.seen) == 300
    assert work.most == 2


async def test_one_that_takes_too_long_has_the_pass_for_itself() -> None:
    async with working() as (work, nursery):
        turns = Turns(seconds=0.002, clock=lambda: work.now)
        for who in range(20):
            nursery.start_soon(work.work, turns, who, 2, 1.0)
    assert len(work.seen) == 40
    assert work.most == 1


async def test_nobody_has_a_second_turn_long_before_another_has_its_first() -> None:
    async with working() as (work, nursery):
        turns = Turns(at_once=4, clock=lambda: work.now)
        for who in range(40):
            nursery.start_soon(work.work, turns, who, 2)
    firsts = {who: index for index, (who, _) in reversed(list(enumerate(work.seen)))}
    # Those of one pass have theirs in any order.
    assert max(firsts.values()) < 40 + 2 * 4


async def test_others_go_on_when_some_are_cancelled() -> None:
    async with working() as (work, nursery):
        turns = Turns(at_once=2, clock=lambda: work.now)
        scopes: list[trio.CancelScope] = []

        async def cancelled(step: Callable[[], object]) -> None:
            with trio.CancelScope() as scope:
                scopes.append(scope)
                await work.work(turns, "cancelled", 1)
                step()

        for who in range(20):
            nursery.start_soon(work.work, turns, who, 1)
            nursery.start_soon(cancelled, list)
        await trio.lowlevel.checkpoint()
        for scope in scopes:
            scope.cancel()
    assert {who for who, _ in work.seen} - {"cancelled"} == set(range(20))


@pytest.mark.parametrize("count", [8, TURNS_AT_ONCE, 1000])
async def test_so_many_begin_in_a_pass(count: int) -> None:
    async with working() as (work, nursery):
        turns = Turns(clock=lambda: work.now)
        for who in range(count):
            nursery.start_soon(work.begin, turns, who)
    assert len(work.seen) == count
    assert work.most == min(count, TURNS_AT_ONCE)


async def test_who_begins_waits_for_no_pass_while_there_is_time() -> None:
    async with working() as (work, _):
        turns = Turns(at_once=4, clock=lambda: work.now)
        for who in range(9):
            await work.begin(turns, who)
    passes = [number for _, number in work.seen]
    assert passes == [passes[0] + who // 4 for who in range(9)]


async def test_nobody_begins_once_those_of_a_pass_have_taken_so_long() -> None:
    async with working() as (work, _):
        turns = Turns(seconds=0.002, clock=lambda: work.now)
        for who in range(6):
            await work.begin(turns, who, takes=0.001)
    passes = [number for _, number in work.seen]
    assert passes == [passes[0] + who // 2 for who in range(6)]


async def test_nobody_begins_before_those_who_wait() -> None:
    come = itertools.count(1)
    async with working() as (work, nursery):
        turns = Turns(at_once=2, clock=lambda: work.now)

        async def join(who: int) -> None:
            if next(come) < 7:
                await work.work(turns, who, 1)
            else:
                await work.begin(turns, "late")

        await work.work(turns, "first", 1)  # there is room in its pass
        for who in range(7):
            nursery.start_soon(join, who)
    passes = dict(work.seen)
    assert passes["late"] == max(passes.values())


async def test_who_had_no_time_left_comes_before_those_who_came_later() -> None:
    come: list[int] = []
    async with working() as (work, nursery):
        turns = Turns(at_once=4, clock=lambda: work.now)

        async def join(who: int) -> None:
            come.append(who)
            await work.work(turns, who, 1, 1.0)  # one has a pass for itself

        for who in range(100):
            nursery.start_soon(join, who)
    places = {who: place for place, (who, _) in enumerate(work.seen)}
    assert max(abs(places[who] - place) for place, who in enumerate(come)) < 60


async def test_it_is_a_checkpoint() -> None:
    turns = Turns()
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.next()
    assert scope.cancelled_caught
    async with working() as (work, _):  # what was cancelled has left no turn behind
        await work.work(turns, "x", 3)
    assert len(work.seen) == 3
