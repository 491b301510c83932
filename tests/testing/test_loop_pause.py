"""What is done while a loop sleeps is done in the caller's thread, and nothing else happens."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
import trio

from esps_portal.journal.journal import Journal
from esps_portal.net.port_control import PortControl
from esps_portal.testing import PortalController, serve_in_thread
from esps_portal.testing.loop_pause import LoopNeededError
from esps_portal.testing.loop_thread import LoopThread
from tests.patience import PATIENCE
from tests.sockets import connected

_Result = TypeVar("_Result")


def nothing_came() -> bool:
    return False


@contextmanager
def started(main: Callable[[], Awaitable[None]]) -> Iterator[LoopThread]:
    begun = threading.Event()

    async def run() -> None:
        begun.set()
        await main()

    loop = LoopThread("loop", run, lambda _: None, lambda: None)
    loop.start()
    try:
        assert begun.wait(PATIENCE)
        yield loop
    finally:
        loop.stop()


def asleep(loop: LoopThread, function: Callable[[], _Result]) -> _Result:
    """Run a function once the loop sleeps, however busy the machine is."""
    while True:
        with contextlib.suppress(LoopNeededError):
            return loop.run_asleep(function, nothing_came)


async def spin() -> None:
    while True:
        await trio.lowlevel.checkpoint()


def test_it_is_done_in_the_thread_of_the_caller() -> None:
    with started(trio.sleep_forever) as loop:
        assert asleep(loop, threading.get_ident) == threading.get_ident()
        assert loop.run(threading.get_ident) != threading.get_ident()


def test_its_error_is_the_callers_and_the_loop_goes_on() -> None:
    with started(trio.sleep_forever) as loop:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                asleep(loop, lambda: 1 // 0)
        assert loop.run(lambda: 1) == 1


def test_the_loop_does_nothing_meanwhile() -> None:
    done = threading.Event()
    with started(trio.sleep_forever) as loop:
        token = loop.run(trio.lowlevel.current_trio_token)

        def look() -> bool:
            token.run_sync_soon(done.set)
            return done.wait(0.05)  # it is not, however long this waits

        assert not asleep(loop, look)
        assert done.wait(PATIENCE)


def test_what_is_done_may_use_the_loop() -> None:
    """A predicate of a test asks for the calls, say."""
    with started(trio.sleep_forever) as loop:
        assert asleep(loop, lambda: loop.run(lambda: loop.run_asleep(lambda: 1, nothing_came))) == 1


def test_input_is_handled_first() -> None:
    """The loop goes on as often as that takes, while there is something that wakes it."""
    left = [3, 2, 1]
    with started(trio.sleep_forever) as loop:
        token = loop.run(trio.lowlevel.current_trio_token)

        def has_input() -> bool:
            if left:
                token.run_sync_soon(left.pop)
            return bool(left)

        while left:
            with contextlib.suppress(LoopNeededError):
                assert loop.run_asleep(lambda: list(left), has_input) == []


def test_a_loop_that_does_not_handle_it_is_not_waited_for() -> None:
    with started(trio.sleep_forever) as loop, pytest.raises(LoopNeededError):
        loop.run_asleep(lambda: 1, lambda: True)


def test_a_loop_that_never_sleeps_is_not_waited_for() -> None:
    with started(spin) as loop, pytest.raises(LoopNeededError):
        loop.run_asleep(int, nothing_came)


def test_a_loop_that_has_ended_never_sleeps() -> None:
    with started(trio.sleep_forever) as loop:
        asleep(loop, int)
    with pytest.raises(LoopNeededError):
        loop.run_asleep(int, nothing_came)


def test_a_portal_can_be_used_whose_loop_never_sleeps(portal: PortalController) -> None:
    portal.service(name="spin")(spin)
    with connected(portal) as client:
        client.send(b"a CALL spin\n")
        portal.wait_for("spin", timeout=PATIENCE)
        portal.stub("price").reply("9.99")
        assert client.call(b"b CALL price") == b"b OK 9.99\n"
        assert [call.service for call in portal.calls()] == ["spin", "price"]
        portal.verify()
        portal.reset()
        assert portal.calls() == []


def test_many_threads_wait_for_a_loop_that_sleeps() -> None:
    count = 0

    def count_up() -> None:
        nonlocal count
        seen = count
        threading.Event().wait(0)  # lets others run
        count = seen + 1

    with started(trio.sleep_forever) as loop:
        threads = [
            threading.Thread(target=lambda: [asleep(loop, count_up) for _ in range(50)])
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert count == 200


@pytest.mark.parametrize("came", [True, False])
def test_what_has_come_is_read_first(*, came: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a test sees in the journal what it has just sent, though nobody has waited for it."""
    monkeypatch.setattr(Journal, "calls_of", lambda *_: threading.get_ident())
    with serve_in_thread() as portal:
        monkeypatch.setattr(PortControl, "has_input", came)
        looked_in: object = portal.calls()
    assert (looked_in == threading.get_ident()) is not came
