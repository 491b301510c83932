"""Waiting for connections to open or to end: what `ServerController.wait_for_connections` does."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedConnection
from esps_portal.journal.waiters import MatchWaiter
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.testing.portal_loop import FunctionRunner
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class NoConnectionError(TimedOutError, AssertionError):
    """The connections that were waited for did not open, or end, in time. Its text shows all."""


@attrs.frozen
class ConnectionWait:
    """A wait for ``count`` connections to open, or to end, of at most ``timeout`` seconds.

    Raises:
        TypeError, ValueError: one of them is not valid.
    """

    _loop: FunctionRunner
    _journal: Journal
    _transcript: Callable[[], str]
    count: int
    closed: bool
    timeout: float

    def __attrs_post_init__(self) -> None:
        waiting.check(self.count, self.timeout)
        waiting.check_kept(self.count, "connections")
        if not isinstance(self.closed, bool):
            raise TypeError(f"closed must be True or False, got {self.closed!r}")

    def block(self) -> list[RecordedConnection]:
        """Wait, and return the connections that have opened, or ended.

        Raises:
            NoConnectionError: they have not, in time.
        """
        return self._result(has_come=self._wait().block(self.timeout))

    async def pause(self) -> list[RecordedConnection]:
        """Do the same in a coroutine."""
        return self._result(has_come=await self._wait().pause(self.timeout))

    def _wait(self) -> waiting.Wait[MatchWaiter]:
        waiters = self._journal.connection_waiters

        def begin(met: Callable[[], None]) -> MatchWaiter:
            return waiters.add(self._counts, self.count, self._journal.connections, met)

        return waiting.Wait(self._loop, waiters, begin)

    def _counts(self, thing: object) -> bool:
        return isinstance(thing, RecordedConnection) and (
            not self.closed or thing.closed is not None
        )

    def _result(self, *, has_come: bool) -> list[RecordedConnection]:
        found = self._loop.run(lambda: [c for c in self._journal.connections if self._counts(c)])
        if has_come:
            return found
        ended = "had ended" if self.closed else "had opened"
        came = f"{len(found)} of {self.count} connections {ended} after {self.timeout:g} s"
        raise NoConnectionError(f"{came}\n{self._transcript()}")
