"""Waiting for calls of a service: what `PortalController.wait_for` does."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from esps_portal.journal.records import RecordedCall
from esps_portal.journal.transcript import transcript
from esps_portal.journal.waiters import Waiter
from esps_portal.mock.scripted import Script
from esps_portal.mock.verification import MAX_LINES
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.testing.portal_loop import FunctionRunner
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class NotCalledError(TimedOutError, AssertionError):
    """The calls that were waited for did not come in time. Its text shows which did."""


@attrs.frozen
class CallWait:
    """A wait for ``count`` calls of a service, or of any, of at most ``timeout`` seconds.

    Raises:
        TypeError, ValueError: one of them is not valid.
    """

    _loop: FunctionRunner
    _script: Script
    service: str | None
    count: int
    timeout: float

    def __attrs_post_init__(self) -> None:
        waiting.check_service(self.service)
        waiting.check(self.count, self.timeout)
        waiting.check_kept(self.count)

    def block(self) -> list[RecordedCall]:
        """Wait, and return the calls of the service.

        Raises:
            NotCalledError: they did not come in time.
        """
        if not self._wait().block(self.timeout):
            raise self._error()
        return self._calls()

    async def pause(self) -> list[RecordedCall]:
        """Do the same in a coroutine."""
        if not await self._wait().pause(self.timeout):
            raise self._error()
        return self._calls()

    def _wait(self) -> waiting.Wait[Waiter]:
        journal = self._script.journal

        def begin(met: Callable[[], None]) -> Waiter:
            return journal.add_waiter(self.service, self.count, met)

        return waiting.Wait(self._loop, journal.waiters, begin)

    def _calls(self) -> list[RecordedCall]:
        return self._loop.run(lambda: self._script.journal.calls_of(self.service))

    def _error(self) -> NotCalledError:
        def text() -> str:
            calls = len(self._script.journal.calls_of(self.service))
            times = f"{calls} of {self.count} times in {self.timeout:g} s"
            happened = transcript(self._script.journal, max_lines=MAX_LINES)
            return f"{self.service or 'anything'} was called {times}\n{happened}"

        return NotCalledError(self._loop.run(text))
