"""Doing something to what a loop serves while the loop sleeps: without it, in the caller's thread.

To have the loop's thread do it takes two switches of threads, which is several times what a test
asks of its portal: to place a stub, to look at the journal. So the loop holds a lock, except while
it waits for I/O. A thread that has the lock knows that nothing in the loop changes meanwhile: all
its tasks wait, and it goes on only once the lock is free. What is done meanwhile must use nothing
of trio, for it runs in no task; and it must not wait.

Each wait for the lock is bounded, since a loop may be stuck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import trio

_Result = TypeVar("_Result")

# Seconds. A loop that runs for longer is better asked to do it: own choice, what a batch of turns
# takes (`ReadySet`).
_SOON = 0.005
# How often the loop may go on before that; each time it reads and answers what has come.
_PASSES = 20


class LoopNeededError(Exception):
    """The loop does not sleep, or what is to be done takes the loop."""


class LoopPause(trio.abc.Instrument):
    """The lock of one loop, which it takes and gives back as an instrument of its own.

    Attributes:
        holder: the identifier of the thread that has the lock; 0: none has.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sleeps = False
        self.holder: int = 0
        # Each is released when the loop sleeps the next time.
        self._waiting: list[threading.Lock] = []

    # -- in the loop's thread

    def before_run(self) -> None:
        """The loop begins."""
        self._lock.acquire()

    def before_io_wait(self, timeout: float) -> None:
        """It waits for I/O; without a timeout it only looks, for it has something else to do."""
        if timeout > 0:
            self._sleeps = True
            while self._waiting:
                self._waiting.pop().release()
            self._lock.release()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - trio's signature
        """It goes on."""
        if self._sleeps:
            self._lock.acquire()
            self._sleeps = False

    def after_run(self) -> None:
        """It has ended, and never sleeps again."""
        self._lock.release()

    # -- in any other thread

    def run(self, function: Callable[[], _Result], has_input: Callable[[], bool]) -> _Result:
        """Run a function while the loop sleeps.

        Args:
            has_input: whether something has come that wakes the loop: it then goes on first. Asked
                while it sleeps, too.

        Raises:
            LoopNeededError: the loop is busy, or has ended; the function was not run.
        """
        for _ in range(_PASSES):
            if not self._lock.acquire(timeout=_SOON):
                break
            try:
                self.holder = threading.get_ident()
                if not self._sleeps:
                    break
                if not has_input():
                    return function()
                slept = self._wait_for_sleep()
            finally:
                self.holder = 0
                self._lock.release()
            if not slept.acquire(timeout=_SOON):
                break
        raise LoopNeededError

    def _wait_for_sleep(self) -> threading.Lock:
        """Return what is released when the loop sleeps the next time."""
        slept = threading.Lock()
        slept.acquire()
        self._waiting.append(slept)
        return slept
