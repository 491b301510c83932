"""The watch over ages: whom it strikes and when, and that it sleeps otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import attrs
import pytest
import trio
import trio.testing

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.target import FaultTarget, Stage
from esps_portal.net.age_watch import AgeWatch


@attrs.define(eq=False)
class Connection:
    """Open since a time; notes when it is struck, and by what."""

    name: str
    opened: float = attrs.field(factory=trio.current_time)
    is_ending: bool = False
    strikes: list[tuple[float, str]] = attrs.field(factory=list)

    def as_aged(self, age: float) -> FaultTarget:
        return FaultTarget("tcp", self, stage=Stage.AGE, age=age)

    def strike(self, fault: Fault) -> None:
        self.strikes.append((trio.current_time() - self.opened, fault.kind))


@attrs.define(eq=False)
class Watched:
    """A watch, its connections, and how often it has looked at them."""

    faults: FaultRegistry
    watch: AgeWatch = attrs.field(init=False)
    connections: list[Connection] = attrs.field(factory=list)
    looks: int = 0

    def __attrs_post_init__(self) -> None:
        self.watch = AgeWatch(self.faults, self)

    def __iter__(self) -> Iterator[Connection]:
        self.looks += 1
        return iter(self.connections)

    def open(self, name: str) -> Connection:
        connection = Connection(name)
        self.connections.append(connection)
        self.watch.opened()
        return connection


@contextlib.asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    faults = FaultRegistry()
    found = Watched(faults)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.watch.run)
        await trio.testing.wait_all_tasks_blocked()
        yield found
        nursery.cancel_scope.cancel()
    assert faults.on_change == []


async def test_each_at_its_age(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    async with watched() as w:
        first = w.open("first")
        await trio.sleep(2)
        w.faults.place(Fault.create("reset", age=5))
        second = w.open("second")
        await trio.sleep(100)
        assert [(first.strikes), (second.strikes)] == [[(5, "reset")], [(5, "reset")]]


async def test_without_such_a_fault_it_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever is placed and opened."""
    del autojump_clock
    async with watched() as w:
        fault = w.faults.place(Fault.create("reset"))
        for number in range(5):
            w.open(str(number))
            await trio.testing.wait_all_tasks_blocked()
        w.faults.remove(fault)
        await trio.testing.wait_all_tasks_blocked()
        assert w.looks == 0


async def test_it_sleeps_until_the_next_is_due(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    async with watched() as w:
        w.open("first")
        w.faults.place(Fault.create("reset", age=5))
        await trio.sleep(100)
        assert w.looks == 2  # placed, and due


async def test_several_that_are_due_at_once_have_their_turn(
    autojump_clock: trio.testing.MockClock,
) -> None:
    del autojump_clock
    async with watched() as w:
        connection = w.open("first")
        await trio.sleep(10)
        w.faults.place(Fault.create("reset", age=7))
        w.faults.place(Fault.create("deaf", age=5))
        await trio.sleep(1)
        assert [kind for _, kind in connection.strikes] == ["deaf", "reset"]


async def test_one_strike_of_each_fault(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    async with watched() as w:
        connection = w.open("first")
        fault = w.faults.place(Fault.create("stall", age=5))
        for _ in range(3):
            await trio.sleep(5)
            w.open("another")
        await trio.sleep(1)
        assert connection.strikes == [(5, "stall")]
        assert fault.happened == 3
        assert fault.selected == 3


@pytest.mark.parametrize("given", [{"match": "x"}, {"request": 2}, {"when": "before"}])
async def test_what_selects_requests_is_no_timer(
    autojump_clock: trio.testing.MockClock, given: dict[str, object]
) -> None:
    del autojump_clock
    async with watched() as w:
        connection = w.open("first")
        w.faults.place(Fault.create("reset", age=5, **given))
        await trio.sleep(10)
        assert connection.strikes == []


async def test_what_ends_already_is_left_alone(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    async with watched() as w:
        connection = w.open("first")
        fault = w.faults.place(Fault.create("reset", age=5))
        connection.is_ending = True
        await trio.sleep(10)
        assert (connection.strikes, fault.selected) == ([], 0)
