"""What a test places and may end early: a fault, an outage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import attrs

from esps_portal.faults.fault import Fault, FaultRegistry
from esps_portal.journal.waiters import Waiter
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class NotStruckError(TimedOutError, AssertionError):
    """A fault that was waited for did not strike in time. Its text says why, and what happened."""


@attrs.define(eq=False, repr=False)
class PlacedFault:
    """A fault in force. It ends with the ``with`` block, by `remove`, or when the test does.

    A strict test fails at its end if the fault never struck, whether it was removed or not.
    `optional` relaxes that, and so does ``chance``.
    """

    fault: Fault
    _faults: FaultRegistry
    _loop: waiting.Runs
    _transcript: Callable[[], str]

    @property
    def happened(self) -> int:
        """How often it struck: the first thing that it does to a reply or a connection counts."""
        return self.fault.happened

    def optional(self) -> Self:
        """Let a strict test pass though it never strikes. Returns the fault itself."""
        self.fault.is_optional = True
        return self

    def remove(self) -> None:
        """End it. Requests that it took stay as they are."""
        self._loop.run(lambda: self._faults.remove(self.fault))

    def wait_for(self, count: int = 1, timeout: float = 1.0) -> None:
        """Wait until it has struck ``count`` times, counted from when it was placed.

        Args:
            count: a positive integer.
            timeout: seconds.

        Raises:
            NotStruckError: it has not, in time.
            TypeError, ValueError: an argument makes no sense.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop("fault")
        waiting.check(count, timeout)
        if not self._wait(count).block(timeout):
            raise self._not_struck(count, timeout)

    async def wait_for_async(
        self,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> None:
        """Do the same in a coroutine, under asyncio, anyio or trio."""
        waiting.check(count, timeout)
        if not await self._wait(count).pause(timeout):
            raise self._not_struck(count, timeout)

    def _wait(self, count: int) -> waiting.Wait:
        waiters = self._faults.waiters

        def begin(met: Callable[[], None]) -> Waiter:
            return waiters.begin(self.fault, count, self.fault.happened, met)

        return waiting.Wait(self._loop, waiters, begin)

    def _not_struck(self, count: int, timeout: float) -> NotStruckError:
        def text() -> str:
            fault = self.fault
            words = [f"fault {fault} struck {fault.happened} of {count} times in {timeout:g} s"]
            if not fault.happened:
                in_force = fault in self._faults.in_force
                words.append(f"    {why_never_struck(fault, in_force=in_force)}")
            return "\n".join([*words, self._transcript()])

        return NotStruckError(self._loop.run(text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __str__(self) -> str:
        return str(self.fault)

    def __repr__(self) -> str:
        return f"<fault {self}, happened {self.happened} times>"


@attrs.define(eq=False, repr=False)
class Outage:
    """The portal is down. It ends with the ``with`` block, by `up`, or when the test does."""

    _end: Callable[[Outage], None]
    _is_over: bool = False

    def up(self) -> None:
        """End it. The portal is up again when its last outage has ended."""
        self._is_over = True
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.up()

    def __repr__(self) -> str:
        return f"<outage, {'over' if self._is_over else 'in force'}>"
