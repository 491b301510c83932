"""The objects that a test gets for what it may end early: a fault, an outage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Self

import attrs

from esps_portal.exports import public_names
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.net.port_outage import OutageKind, check_outage
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.testing.portal_loop import FunctionRunner, PortalLoop
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class NotStruckError(TimedOutError, AssertionError):
    """A fault that was waited for did not strike in time. Its text says why, and what happened."""


@attrs.define(eq=False, repr=False)
class PlacedFault:
    """A fault in force. It ends with its ``with`` block, by `remove`, or with the test.

    A strict test fails at its end if the fault never struck, whether it was removed or not.
    `optional` relaxes that, and so does ``chance``::

        with portal.fault("reset", service="price") as fault:
            shop.buy("sku-1")
        assert fault.happened == 1
    """

    fault: Fault
    _faults: FaultRegistry
    _loop: FunctionRunner
    _transcript: Callable[[], str]
    # By this handle; `heal` and `reset` may come from another thread, just before a block.
    _is_removed: bool = False

    @property
    def happened(self) -> int:
        """How often it struck, counted when it first affects a reply or a connection."""
        return self.fault.happened

    def optional(self) -> Self:
        """Let a strict test pass even if the fault never strikes. Returns the fault itself."""
        self.fault.is_optional = True
        return self

    def remove(self) -> None:
        """End the fault. Replies that it has already affected stay as they are."""
        self._is_removed = True
        self._loop.run(lambda: self._faults.remove(self.fault))

    def wait_for(self, count: int = 1, timeout: float = 1.0) -> None:
        """Wait until the fault has struck ``count`` times, counted from when it was placed.

        Args:
            count: a positive integer.
            timeout: seconds, 0 or more.

        Raises:
            NotStruckError: it has not, in time.
            TypeError, ValueError: an argument is not valid.
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
        """Wait as `wait_for` does, in a coroutine under asyncio, anyio or trio."""
        waiting.check(count, timeout)
        if not await self._wait(count).pause(timeout):
            raise self._not_struck(count, timeout)

    def _wait(self, count: int) -> waiting.Wait:
        faults = self._faults
        begin = partial(faults.add_waiter, self.fault, count)
        return waiting.Wait(self._loop, faults.waiters, begin)

    def _not_struck(self, count: int, timeout: float) -> NotStruckError:
        def text() -> str:
            fault = self.fault
            lines = [f"fault {fault} struck {fault.happened} of {count} times in {timeout:g} s"]
            if not fault.happened:
                lines.append(f"    {why_never_struck(fault, self._faults)}")
            return "\n".join([*lines, self._transcript()])

        return NotStruckError(self._loop.run(text))

    def __enter__(self) -> Self:
        """Begin the block at whose end the fault ends.

        Raises:
            RuntimeError: it was removed, so that the block would be without it.
        """
        if self._is_removed:
            raise RuntimeError(f"fault {self} is no longer in force: place it again")
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __str__(self) -> str:
        return str(self.fault)

    def __repr__(self) -> str:
        return f"<fault {self}, happened {self.happened} times>"

    def __dir__(self) -> list[str]:
        return public_names(self)


@attrs.define(eq=False, repr=False)
class Outage:
    """The portal is down. That ends with the ``with`` block, by `up`, or with the test.

    Attributes:
        how: ``refuse`` or ``silent``; see `PortalController.down`.
        is_over: whether it has ended.
    """

    how: OutageKind
    _end: Callable[[Outage], None]
    is_over: bool = False
    # By `up`; `heal` and `reset` may come from another thread, just before a block.
    _was_ended: bool = False

    def up(self) -> None:
        """End the outage. The portal is up again when its last outage has ended."""
        self.is_over = self._was_ended = True
        self._end(self)

    def __enter__(self) -> Self:
        """Begin the block at whose end the outage ends.

        Raises:
            RuntimeError: `up` has ended it, so that the block would be without it.
        """
        if self._was_ended:
            raise RuntimeError(f"this {self.how} outage is over: call down() again")
        return self

    def __exit__(self, *_: object) -> None:
        self.up()

    def __repr__(self) -> str:
        return f"<{self.how} outage, {'over' if self.is_over else 'in force'}>"

    def __dir__(self) -> list[str]:
        return public_names(self)


class Outages:
    """The outages in force of a portal. If there are several the latest one says how it is down.

    Args:
        loop: takes it down and up.
    """

    def __init__(self, loop: PortalLoop) -> None:
        self._loop = loop
        self._in_force: list[Outage] = []

    @property
    def how(self) -> OutageKind | None:
        """How the portal is down; `None`: it is up."""
        return self._in_force[-1].how if self._in_force else None

    def add(self, how: OutageKind) -> Outage:
        """Take the portal down in this way; return the outage.

        Raises:
            ValueError: there is no such way.
        """
        check_outage(how)
        self._loop.down(how)
        outage = Outage(how, self._end)
        self._in_force.append(outage)
        return outage

    def end_all(self) -> None:
        """End all of them: the portal is up."""
        if self._in_force:
            self.clear()
            self._loop.up()

    def clear(self) -> None:
        """Forget all of them: a reset has ended them."""
        for outage in self._in_force:
            outage.is_over = True
        self._in_force.clear()

    def _end(self, outage: Outage) -> None:
        if outage not in self._in_force:
            return
        self._in_force.remove(outage)
        if self.how is None:
            self._loop.up()
        else:
            self._loop.down(self.how)
