"""Waiting for what a journal records: calls, exchanges, connections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

import attrs

from esps_portal.faults.matching import Match
from esps_portal.given_numbers import shown_value
from esps_portal.journal.journal import Journal
from esps_portal.journal.records import RecordedCall, RecordedConnection, RecordedExchange
from esps_portal.journal.waiters import MatchWaiter
from esps_portal.mock.journal_search import (
    add_connection_waiter,
    add_exchange_waiter,
    connections_of,
    is_asked_for,
)
from esps_portal.protocol.errors import TimedOutError
from esps_portal.testing import waiting
from esps_portal.testing.journal_view import JournalView
from esps_portal.testing.portal_loop import FunctionRunner
from esps_portal.tracebacks import hides_frame
from esps_portal.user_errors import reraise_interrupt

__tracebackhide__ = hides_frame

_Record = TypeVar("_Record")


class NotCalledError(TimedOutError, AssertionError):
    """The calls that were waited for did not come in time. Its text shows which did."""


class NoExchangeError(TimedOutError, AssertionError):
    """The exchanges that were waited for did not come in time. Its text shows which did."""


class NoConnectionError(TimedOutError, AssertionError):
    """The connections that were waited for did not open, or end, in time. Its text shows all."""


@attrs.frozen
class RecordWait(Generic[_Record]):
    """A wait for a number of records, of at most ``timeout`` seconds.

    Attributes:
        find: returns the records that count, in the portal's loop.
        error: what is raised if they do not come in time.
        describe: returns the first line of its text, of how many have come.
        happened: returns the transcript that it shows after that.
    """

    _loop: FunctionRunner
    _wait: waiting.Wait
    timeout: float
    find: Callable[[], list[_Record]]
    error: Callable[[str], TimedOutError]
    describe: Callable[[int], str]
    happened: Callable[[], str]

    def block(self) -> list[_Record]:
        """Wait, and return the records that count.

        Raises:
            TimedOutError: they did not come in time.
        """
        return self._result(has_come=self._wait.block(self.timeout))

    async def pause(self) -> list[_Record]:
        """Wait as `block` does, in a coroutine."""
        return self._result(has_come=await self._wait.pause(self.timeout))

    def _result(self, *, has_come: bool) -> list[_Record]:
        found = self._loop.access(self.find)
        if not has_come:
            raise self.error(f"{self.describe(len(found))}\n{self.happened()}")
        return found


def call_wait(
    view: JournalView, service: str | None, count: int, timeout: float
) -> RecordWait[RecordedCall]:
    """Return a wait for calls of a service, or of any.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """
    waiting.check_service(service)
    waiting.check_records("calls", count, timeout)
    journal = view.journal

    return RecordWait(
        view.loop,
        waiting.Wait(view.loop, journal.waiters, partial(journal.add_waiter, service, count)),
        timeout,
        find=partial(journal.calls_of, service),
        error=NotCalledError,
        describe=lambda found: (
            f"{service or 'anything'} was called {found} of {count} times in {timeout:g} s"
        ),
        happened=view.short_transcript,
    )


def connection_wait(
    view: JournalView, count: int, timeout: float, *, closed: bool
) -> RecordWait[RecordedConnection]:
    """Return a wait for connections to open, or to end.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """
    waiting.check_records("connections", count, timeout)
    if not isinstance(closed, bool):
        raise TypeError(f"closed must be True or False, got {shown_value(closed)}")
    journal = view.journal

    ended = "ended" if closed else "opened"
    return RecordWait(
        view.loop,
        waiting.Wait(
            view.loop,
            journal.connection_waiters,
            partial(add_connection_waiter, journal, count, closed=closed),
        ),
        timeout,
        find=partial(connections_of, journal, closed=closed),
        error=NoConnectionError,
        describe=lambda found: f"{found} of {count} connections had {ended} after {timeout:g} s",
        happened=view.short_transcript,
    )


def exchange_wait(
    view: JournalView, journal: Journal, match: Match | None, count: int, timeout: float
) -> RecordWait[RecordedExchange]:
    """Return a wait for exchanges that match, or any.

    Args:
        journal: that of the exchanges.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """
    waiting.check_records("exchanges", count, timeout)
    # What a test's own predicate has raised: the test gets it, not the proxy.
    failures: list[BaseException] = []

    def begin(met: Callable[[], None]) -> MatchWaiter[RecordedExchange]:
        def is_wanted(exchange: RecordedExchange) -> bool:
            try:
                return is_asked_for(exchange, match)
            except BaseException as error:  # noqa: BLE001 - a test's own: pytest.fail() too
                reraise_interrupt(error)
                failures.append(error)
                met()
                return False

        return add_exchange_waiter(journal, is_wanted, count, met)

    def find() -> list[RecordedExchange]:
        if failures:
            raise failures[-1]
        return [exchange for exchange in journal.exchanges if is_asked_for(exchange, match)]

    wanted = f" that match {match}" if match is not None else ""
    return RecordWait(
        view.loop,
        waiting.Wait(view.loop, journal.exchange_waiters, begin),
        timeout,
        find=find,
        error=NoExchangeError,
        describe=lambda found: f"{found} of {count} exchanges{wanted} came in {timeout:g} s",
        happened=view.short_transcript,
    )
