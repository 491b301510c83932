"""The ready set: bounded turns in order, and what epoll does to whoever trusts its events."""

from __future__ import annotations

import contextvars
import itertools
import logging
import select
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.testing

from esps_portal.clock import monotonic
from esps_portal.net import ready_set
from esps_portal.net.fork import close_poll, poll_closed_in_child
from esps_portal.net.poller import EpollPoller
from esps_portal.net.ready_set import (
    BATCH_SECONDS,
    POLLING_SECONDS,
    PROMPT_SECONDS,
    SHORT_TURN,
    ReadySet,
    Turn,
)
from tests.patience import PATIENCE


@attrs.define(eq=False)
class Echo:
    """Notes each turn; answers what comes, unless told otherwise."""

    sock: socket.socket
    turn: Callable[[Echo], Turn]
    turns: int = 0
    started: int = 0
    aborted: bool = False
    can_be_parked: bool = True
    asked_much: bool = False

    @property
    def stream(self) -> Echo:
        return self

    def fileno(self) -> int:
        return self.sock.fileno()

    def has_input(self) -> bool:
        raise NotImplementedError

    def begin(self) -> bool:
        return self.can_be_parked

    def take_turn(self, *_: float) -> Turn:
        self.turns += 1
        return self.turn(self)

    def abort(self) -> None:
        self.aborted = True


def echo(connection: Echo) -> Turn:
    try:
        data = connection.sock.recv(100)
    except BlockingIOError:
        return Turn.DONE
    if not data:
        return Turn.NEEDS_TASK
    connection.sock.send(data)
    return Turn.DONE


@attrs.define
class Parked:
    """A ready set that runs, and connections made for it."""

    ready: ReadySet
    clients: list[socket.socket] = attrs.field(factory=list)
    connections: list[Echo] = attrs.field(factory=list)

    def connect(self, turn: Callable[[Echo], Turn] = echo) -> tuple[socket.socket, Echo]:
        client, server = socket.socketpair()
        client.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        server.setblocking(False)  # noqa: FBT003 - the same
        self.clients.append(client)
        connection = Echo(server, turn)
        self.connections.append(connection)
        return client, connection

    def park(self, turn: Callable[[Echo], Turn] = echo) -> tuple[socket.socket, Echo]:
        client, connection = self.connect(turn)
        self.ready.park(connection)
        return client, connection


@asynccontextmanager
async def running() -> AsyncIterator[Parked]:
    """Run a ready set; what it starts is counted, and not run."""
    ready = ReadySet(EpollPoller())
    parked = Parked(ready)

    def start(connection: Echo) -> None:
        connection.started += 1

    ready.start = start
    try:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ready.run)
                yield parked
                nursery.cancel_scope.cancel()
    finally:
        for client in parked.clients:
            client.close()
        for connection in parked.connections:
            connection.sock.close()


blocked = trio.testing.wait_all_tasks_blocked


async def test_it_answers_all_that_are_ready() -> None:
    async with running() as parked:
        clients = [parked.park()[0] for _ in range(300)]  # more than are polled at a time
        for client in clients:
            client.send(b"x")
        await blocked()
        assert [client.recv(10) for client in clients] == [b"x"] * 300
        assert [each.started for each in parked.connections] == [0] * 300


async def test_a_new_one_is_parked_if_it_can_be() -> None:
    async with running() as parked:
        client, connection = parked.connect()
        assert parked.ready.admit(connection)
        _, other = parked.connect()
        other.can_be_parked = False
        assert not parked.ready.admit(other)
        client.send(b"x")
        await blocked()
        assert client.recv(10) == b"x"
        assert connection in parked.ready
        assert other not in parked.ready


async def test_one_that_needs_its_task_leaves_the_set() -> None:
    async with running() as parked:
        client, connection = parked.park()
        client.close()
        await blocked()
        assert (connection.turns, connection.started) == (1, 1)
        assert connection not in parked.ready


async def test_a_task_with_other_work_waits_until_it_is_needed() -> None:
    async with running() as parked, trio.open_nursery() as nursery:
        client, connection = parked.connect()
        gone_on = trio.Event()

        async def task() -> None:
            await parked.ready.wait(connection)
            gone_on.set()

        nursery.start_soon(task)
        await blocked()
        client.send(b"x")
        await blocked()
        assert client.recv(10) == b"x"
        assert not gone_on.is_set()
        client.close()
        await gone_on.wait()
        assert connection.started == 0
        assert connection not in parked.ready


async def test_a_task_that_is_cancelled_while_it_waits_takes_it_out() -> None:
    async with running() as parked:
        client, connection = parked.connect()
        with trio.move_on_after(0):
            await parked.ready.wait(connection)
        client.send(b"x")
        await blocked()
        assert connection not in parked.ready
        assert connection.turns == 0


async def test_who_has_more_to_do_goes_to_the_back() -> None:
    order: list[str] = []

    def busy(connection: Echo) -> Turn:
        order.append("busy")
        return Turn.MORE if connection.turns < 4 else Turn.NEEDS_TASK

    def quick(connection: Echo) -> Turn:
        order.append("quick")
        return echo(connection)

    async with running() as parked:
        first, _ = parked.park(busy)
        second, _ = parked.park(quick)
        first.send(b"x")
        second.send(b"x")
        await blocked()
        assert order == ["busy", "quick", "busy", "busy", "busy"]


async def test_a_batch_that_takes_long_lets_others_go_on() -> None:
    """What is left of it is kept, in its order."""
    seen: list[object] = []

    def slow(connection: Echo) -> Turn:
        seen.append(parked.connections.index(connection))
        until = monotonic() + BATCH_SECONDS * 0.6
        while monotonic() < until:
            pass
        return echo(connection)

    async def other_task() -> None:
        while True:
            await trio.lowlevel.checkpoint()
            if seen and seen[-1] != "task":
                seen.append("task")

    async with running() as parked, trio.open_nursery() as nursery:
        for each in [parked.park(slow)[0] for _ in range(12)]:
            each.send(b"x")
        nursery.start_soon(other_task)
        while len([each for each in seen if each != "task"]) < 12:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [each for each in seen if each != "task"] == list(range(12))
    # Two turns take longer than a batch may. trio runs what is ready in any order, so that the
    # other task may come first in one round and last in the next.
    assert all("task" in seen[start : start + 5] for start in range(len(seen) - 4))


async def asked_again_and_again(parked: Parked, count: int) -> int:
    """Have each of so many clients send once more as soon as it is answered, a thousand times.

    Return how many passes through trio's scheduler their turns took.
    """
    passes = 0

    def answer(connection: Echo) -> Turn:
        turn = echo(connection)
        client = parked.clients[parked.connections.index(connection)]
        client.recv(10)
        if connection.turns < 1000:
            client.send(b"x")
        return turn

    async def count_passes() -> None:
        nonlocal passes
        while any(connection.turns < 1000 for connection in parked.connections):
            passes += 1
            await trio.lowlevel.checkpoint()

    for client in [parked.park(answer)[0] for _ in range(count)]:
        client.send(b"x")
    await count_passes()
    return passes


async def test_what_becomes_readable_meanwhile_has_its_turn_in_the_same_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ready_set, "monotonic", lambda: 0.0)  # there is time for all of it
    async with running() as parked:
        assert await asked_again_and_again(parked, 2) < 10


async def test_others_go_on_while_more_and_more_becomes_readable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = itertools.count(step=POLLING_SECONDS / 10)
    monkeypatch.setattr(ready_set, "monotonic", lambda: next(now))
    async with running() as parked:
        assert await asked_again_and_again(parked, 2) > 100


async def waits_of_one_that_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often the poller waited for a client that sends once more as soon as it can."""
    waits = 0
    wait = EpollPoller.wait

    async def counted(self: EpollPoller) -> None:
        nonlocal waits
        waits += 1
        await wait(self)

    monkeypatch.setattr(EpollPoller, "wait", counted)
    async with running() as parked:
        await asked_again_and_again(parked, 1)
        await blocked()  # and nothing spins
    return waits


async def test_what_comes_at_once_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_set, "monotonic", lambda: 0.0)  # no wait takes any time
    assert await waits_of_one_that_is_asked_again(monkeypatch) < 10


async def test_what_takes_its_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(step=PROMPT_SECONDS * 2)
    monkeypatch.setattr(ready_set, "monotonic", lambda: next(now))
    assert await waits_of_one_that_is_asked_again(monkeypatch) > 1000


async def test_who_asks_little_waits_for_half_a_batch_of_those_who_ask_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many those are."""
    now = 0.0
    monkeypatch.setattr(ready_set, "monotonic", lambda: now)
    order: list[str] = []

    def much(connection: Echo) -> Turn:
        nonlocal now
        now += BATCH_SECONDS / 4
        order.append("much")
        return Turn.MORE if connection.turns < 10 else echo(connection)

    def little(connection: Echo) -> Turn:
        order.append("little")
        return echo(connection)

    async with running() as parked:
        for client in [parked.park(much)[0] for _ in range(50)]:
            client.send(b"x")
        while not all(connection.turns for connection in parked.connections):
            await trio.lowlevel.checkpoint()
        client, _ = parked.park(little)
        begun = len(order)
        for _ in range(5):
            client.send(b"x")
            while "little" not in order[begun:]:
                await trio.lowlevel.checkpoint()
            # A batch that was under way, and one more: trio runs tasks in any order.
            assert order[begun:].index("little") <= 8
            client.recv(10)
            begun = len(order)
        await blocked()
    # Nor do those have to wait for the others.
    assert order.count("much") == 500


async def test_who_is_known_to_ask_little_does_not_wait_for_thousands_that_are_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor do those who are new wait for all who ask much, nor these for all who are new."""
    now = 0.0
    monkeypatch.setattr(ready_set, "monotonic", lambda: now)
    order: list[str] = []

    def much(_: Echo) -> Turn:
        nonlocal now
        now += BATCH_SECONDS / 4
        order.append("much")
        return Turn.MORE

    def new(connection: Echo) -> Turn:
        nonlocal now
        now += BATCH_SECONDS / 4
        order.append("new")
        return echo(connection)

    def little(connection: Echo) -> Turn:
        order.append("little")
        return echo(connection)

    async with running() as parked:
        known, _ = parked.park(little)
        known.send(b"x")
        for client in [parked.park(much)[0] for _ in range(20)]:
            client.send(b"x")
        while not all(connection.turns for connection in parked.connections):
            await trio.lowlevel.checkpoint()
        for _ in range(100):
            client, connection = parked.connect(new)
            assert parked.ready.admit(connection)
            client.send(b"x")
        begun = len(order)
        known.send(b"x")
        while order.count("new") < 100:
            await trio.lowlevel.checkpoint()
        for connection in parked.connections:
            parked.ready.leave(connection)
    since = order[begun:]
    # A batch that was under way, and one more: trio runs tasks in any order.
    assert since.index("little") <= 8
    assert 30 <= since.count("much") <= 300


@pytest.mark.parametrize("asked_much", [False, True])
async def test_any_turn_may_take_long_on_a_busy_machine(
    monkeypatch: pytest.MonkeyPatch, *, asked_much: bool
) -> None:
    """Only who also asked much comes after all others who do."""
    now = 0.0
    monkeypatch.setattr(ready_set, "monotonic", lambda: now)
    order: list[str] = []

    def much(_: Echo) -> Turn:
        nonlocal now
        now += BATCH_SECONDS
        order.append("much")
        return Turn.MORE

    def long(connection: Echo) -> Turn:
        nonlocal now
        now += 2 * SHORT_TURN
        order.append("long")
        return echo(connection)

    async with running() as parked:
        client, connection = parked.park(long)
        connection.asked_much = asked_much
        client.send(b"x")
        while not connection.turns:
            await trio.lowlevel.checkpoint()
        for other in [parked.park(much)[0] for _ in range(20)]:
            other.send(b"x")
        while not all(each.turns for each in parked.connections):
            await trio.lowlevel.checkpoint()
        client.send(b"x")
        begun = len(order)
        while "long" not in order[begun:]:
            await trio.lowlevel.checkpoint()
        for each in parked.connections:
            parked.ready.leave(each)
    assert (order[begun:].index("long") > 2) is asked_much


async def test_those_who_ask_much_have_their_turns_beside_those_who_ask_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr(ready_set, "monotonic", lambda: now)
    order: list[str] = []

    def much(_: Echo) -> Turn:
        order.append("much")
        return Turn.MORE

    def little(_: Echo) -> Turn:
        nonlocal now
        now += SHORT_TURN / 2
        order.append("little")
        return Turn.DONE  # and more has come already

    async with running() as parked:
        parked.park(much)[0].send(b"x")
        for client in [parked.park(little)[0] for _ in range(100)]:
            client.send(b"x")
        while order.count("much") < 20:
            await trio.lowlevel.checkpoint()
        for connection in parked.connections:
            parked.ready.leave(connection)
    first = order.index("much", order.index("much") + 1)
    rows = "".join("m" if who == "much" else "l" for who in order[first:]).split("m")
    assert max(map(len, rows)) <= BATCH_SECONDS / SHORT_TURN + 1


async def test_one_that_is_out_of_the_set_makes_no_events() -> None:
    """With an empty mask epoll would still report its hang-up, again and again."""
    async with running() as parked:
        client, connection = parked.park()
        parked.ready.resume(connection)
        client.close()
        await blocked()
        assert connection.turns == 0
        statistics = trio.lowlevel.current_statistics()
        assert statistics.tasks_runnable == 0


async def test_a_child_that_holds_the_descriptor_makes_no_events() -> None:
    async with running() as parked:
        client, connection = parked.park()
        with subprocess.Popen(  # noqa: ASYNC220 - it starts, and waits for its standard input
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[connection.fileno()],
        ) as child:
            client.send(b"xx")
            client.close()
            await blocked()
            assert connection.started == 1  # it has read FIN, and left the set
            connection.sock.close()
            turns = connection.turns
            await blocked()
            assert connection.turns == turns
            _, other = parked.park()
            assert other.turns == 0
            child.kill()


async def test_a_descriptor_that_is_taken_again_within_a_batch() -> None:
    """The event was the old one's: reading finds that the new one has nothing."""
    made: list[Echo] = []

    def replace(_: Echo) -> Turn:
        old = parked.connections[1]
        if not made:
            descriptor = old.fileno()
            parked.ready.resume(old)
            old.sock.close()
            new = parked.connect()[1]
            # The client's end has taken the number: swap them.
            if new.fileno() != descriptor:
                new.sock, parked.clients[-1] = parked.clients[-1], new.sock
            assert new.fileno() == descriptor
            parked.ready.park(new)
            made.append(new)
        return Turn.NEEDS_TASK

    async with running() as parked:
        first, _ = parked.park(replace)
        second, old = parked.park()
        first.send(b"x")
        second.send(b"x")
        await blocked()
        (new,) = made
        assert old.turns == 0
        assert (new.turns, new.started) == (1, 0)
        parked.clients[-1].send(b"y")
        await blocked()
        assert parked.clients[-1].recv(10) == b"y"


async def test_another_thread_has_closed_it() -> None:
    """As when a portal's thread is stuck. Its number may be another's by then."""
    async with running() as parked:
        _, old = parked.park()
        descriptor = old.fileno()
        old.sock.close()
        client, new = parked.connect()
        if new.fileno() != descriptor:
            new.sock, parked.clients[-1] = parked.clients[-1], new.sock
            client = parked.clients[-1]
        parked.ready.park(new)
        parked.ready.resume(old)
        assert old.started == 1
        client.send(b"x")
        await blocked()
        assert client.recv(10) == b"x"


async def test_another_thread_has_closed_one_that_waited_for_its_turn() -> None:
    def closed_in_its_second_turn(connection: Echo) -> Turn:
        if connection.turns == 1:
            return Turn.MORE
        connection.sock.close()
        return Turn.DONE

    async with running() as parked:
        client, connection = parked.park(closed_in_its_second_turn)
        other, _ = parked.park()
        client.send(b"x")
        while connection.turns < 2:
            await trio.lowlevel.checkpoint()
        other.send(b"y")
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.wait_readable(other)
        assert other.recv(1) == b"y"
        parked.ready.leave(connection)


async def test_context_variables_stay_within_a_connection() -> None:
    variable = contextvars.ContextVar[str]("variable", default="")
    seen: list[tuple[int, str]] = []

    def set_it(connection: Echo) -> Turn:
        number = parked.connections.index(connection)
        seen.append((number, variable.get()))
        variable.set(f"set by {number}")
        return echo(connection)

    async with running() as parked, trio.open_nursery() as nursery:
        for _ in range(2):
            _, connection = parked.connect(set_it)
            # Each has had a task of its own before.
            nursery.start_soon(parked.ready.wait, connection)
        await blocked()
        for _ in range(2):
            for client in parked.clients:
                client.send(b"x")
            await blocked()
        nursery.cancel_scope.cancel()
    # Of each round in any order: one whose turn has taken long comes last.
    assert sorted(seen[:2]) == [(0, ""), (1, "")]
    assert sorted(seen[2:]) == [(0, "set by 0"), (1, "set by 1")]
    assert variable.get() == ""


async def test_context_variables_stay_when_a_connection_needs_its_task() -> None:
    variable = contextvars.ContextVar[str]("variable", default="")
    seen: list[str] = []

    def act(connection: Echo) -> Turn:
        seen.append(variable.get())
        variable.set(f"set by {parked.connections.index(connection)}")
        # In the turn of the first, the other one needs its task too.
        parked.ready.resume(other)
        return Turn.NEEDS_TASK

    async with running() as parked:
        client, _ = parked.park(act)
        _, other = parked.park(act)
        parked.ready.start = lambda _: seen.append(variable.get())
        client.send(b"x")
        await blocked()
    assert seen == ["", "", "set by 0"]


async def test_context_variables_stay_in_a_task_that_has_waited() -> None:
    variable = contextvars.ContextVar[str]("variable", default="")

    def set_it(_: Echo) -> Turn:
        variable.set("set in a turn")
        return Turn.NEEDS_TASK

    async with running() as parked:
        client, connection = parked.connect(set_it)
        client.send(b"x")
        await parked.ready.wait(connection)
        assert variable.get() == "set in a turn"


async def test_one_that_fails_is_reset_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Echo) -> Turn:
        raise RuntimeError("not foreseen")

    async with running() as parked:
        first, failing = parked.park(fail)
        second, _ = parked.park()
        with caplog.at_level(logging.ERROR, "esps_portal"):
            first.send(b"x")
            second.send(b"x")
            await blocked()
        assert (failing.aborted, failing.started) == (True, 1)
        assert second.recv(10) == b"x"
        assert "not foreseen" in caplog.text


async def test_at_the_end_everything_goes_on_in_its_own_task() -> None:
    async with running() as parked:
        _, connection = parked.park()
    assert connection.started == 1
    assert not parked.ready.is_open


def test_an_epoll_that_a_child_closes() -> None:
    poll = poll_closed_in_child()
    close_poll(poll)
    assert poll.closed
    assert isinstance(poll, select.epoll)
