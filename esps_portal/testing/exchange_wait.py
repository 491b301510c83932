"""Waiting for exchanges of any protocol: what `ProxyController.wait_for` does."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from esps_portal.faults.matching import Match
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedExchange
from esps_portal.journal.waiters import MatchWaiter
from esps_portal.mock.exchange_search import is_asked_for
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.testing.portal_loop import FunctionRunner
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt

__tracebackhide__ = hides_frame


class NoExchangeError(TimedOutError, AssertionError):
    """The exchanges that were waited for did not come in time. Its text shows which did."""


@attrs.define
class ExchangeWait:
    """A wait for ``count`` exchanges that match, or any, of at most ``timeout`` seconds.

    Raises:
        TypeError, ValueError: one of them is not valid.
    """

    _loop: FunctionRunner
    _journal: Journal
    _transcript: Callable[[], str]
    match: Match | None
    count: int
    timeout: float
    # What a test's own predicate has raised: the test gets it, not the proxy.
    _failure: BaseException | None = attrs.field(default=None, init=False)
    _is_over: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        waiting.check(self.count, self.timeout)
        waiting.check_kept(self.count, "exchanges")

    def block(self) -> list[RecordedExchange]:
        """Wait, and return the exchanges that match.

        Raises:
            NoExchangeError: they did not come in time.
        """
        return self._result(has_come=self._wait().block(self.timeout))

    async def pause(self) -> list[RecordedExchange]:
        """Do the same in a coroutine."""
        return self._result(has_come=await self._wait().pause(self.timeout))

    def _wait(self) -> waiting.Wait[MatchWaiter]:
        waiters = self._journal.exchange_waiters

        def begin(met: Callable[[], None]) -> MatchWaiter:
            def end() -> None:
                if not self._is_over:
                    self._is_over = True
                    met()

            def counts(thing: object) -> bool:
                try:
                    return isinstance(thing, RecordedExchange) and is_asked_for(thing, self.match)
                except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
                    reraise_interrupt(error)
                    self._failure = error
                    end()
                    return False

            return waiters.add(counts, self.count, self._journal.exchanges, end)

        return waiting.Wait(self._loop, waiters, begin)

    def _result(self, *, has_come: bool) -> list[RecordedExchange]:
        if self._failure is not None:
            raise self._failure
        found = self._loop.run(
            lambda: [e for e in self._journal.exchanges if is_asked_for(e, self.match)]
        )
        if has_come:
            return found
        wanted = f" that match {self.match}" if self.match is not None else ""
        came = f"{len(found)} of {self.count} exchanges{wanted} came in {self.timeout:g} s"
        raise NoExchangeError(f"{came}\n{self._transcript()}")
