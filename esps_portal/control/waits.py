"""``/wait``: waits for calls, exchanges, connections or a fault, up to a timeout."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.endpoint import EndpointRequest
from esps_portal.control.faults import no_fault
from esps_portal.control.http_messages import HttpError
from esps_portal.control.journals import calls, match_of
from esps_portal.faults.fault import Fault
from esps_portal.faults.matching import Match
from esps_portal.journal.journal import MAX_KEPT
from esps_portal.journal.journal_json import connection_to_values, exchange_to_values
from esps_portal.journal.values import (
    ValueTable,
    read_name,
    read_positive_integer,
    read_seconds,
    read_text,
    wrong_value,
)
from esps_portal.journal.waiters import AnyWaiter, Waiters
from esps_portal.mock.journal_search import (
    add_connection_waiter,
    add_exchange_waiter,
    connections_of,
    exchanges_of,
    is_asked_for,
)
from esps_portal.mock.match_values import read_match
from esps_portal.mock.never_struck import why_never_struck

_TIMEOUT = 1.0
# Seconds, an hour: a client that has vanished is not waited for longer.
_MAX_TIMEOUT = 3600.0


async def wait(controls: ServerControls, request: EndpointRequest) -> dict[str, Any]:
    """Wait; return whether that was reached, and what came."""
    what = _what(controls, request.value)
    table = request.table(what, "count", "timeout")
    count = table.get("count", read_positive_integer, 1)
    timeout = table.get("timeout", read_seconds, _TIMEOUT)
    if count > MAX_KEPT:
        raise table.error("count", f"must be at most {MAX_KEPT}, which is how many are kept")
    if timeout > _MAX_TIMEOUT:
        raise table.error("timeout", f"must be at most {_MAX_TIMEOUT:g} seconds")
    if what == "connections":
        event = table.required("connections", _read_event)
        return await _wait_for_connections(controls, count, timeout, closed=event == "closed")
    if what == "fault":
        return await _wait_for_fault(controls, _fault(controls, table), count, timeout)
    if what == "service":
        service = table.get("service", read_name, None)
        return await _wait_for_calls(controls, service, count, timeout)
    match = match_of(table.required(what, read_match)) if what in table.values else None
    return await _wait_for_exchanges(controls, match, count, timeout)


def _what(controls: ServerControls, value: object) -> str:
    """Return which key says what is waited for."""
    keys = ("fault", "connections", *controls.waits_for)
    given = [key for key in keys if isinstance(value, dict) and key in value]
    return given[0] if given else controls.waits_for[0]


def _fault(controls: ServerControls, table: ValueTable) -> Fault:
    name = table.required("fault", read_text)
    fault = controls.known_fault(name)
    if fault is None:
        raise table.error("fault", no_fault(name).message)
    return fault


async def _wait_for_fault(
    controls: ServerControls,
    fault: Fault,
    count: int,
    timeout: float,  # noqa: ASYNC109
) -> dict[str, Any]:
    faults = controls.state.faults
    reached = await _happens(faults.waiters, partial(faults.add_waiter, fault, count), timeout)
    found: dict[str, Any] = {"reached": reached, "happened": fault.happened}
    if not fault.happened:
        found["why"] = why_never_struck(fault, faults)
    return found


async def _wait_for_calls(
    controls: ServerControls,
    service: str | None,
    count: int,
    timeout: float,  # noqa: ASYNC109
) -> dict[str, Any]:
    journal = controls.state.journal
    reached = await _happens(journal.waiters, partial(journal.add_waiter, service, count), timeout)
    return {"reached": reached, "calls": calls(controls, service)}


async def _wait_for_exchanges(
    controls: ServerControls,
    match: Match | None,
    count: int,
    timeout: float,  # noqa: ASYNC109
) -> dict[str, Any]:
    journal = controls.state.exchanges
    begin = partial(add_exchange_waiter, journal, partial(is_asked_for, match=match), count)
    reached = await _happens(journal.exchange_waiters, begin, timeout)
    found = [each for each in exchanges_of(journal, match) if each.number > 0]
    return {"reached": reached, "exchanges": map(exchange_to_values, found)}


async def _wait_for_connections(
    controls: ServerControls,
    count: int,
    timeout: float,  # noqa: ASYNC109
    *,
    closed: bool,
) -> dict[str, Any]:
    journal = controls.state.journal
    begin = partial(add_connection_waiter, journal, count, closed=closed)
    reached = await _happens(journal.connection_waiters, begin, timeout)
    found = connections_of(journal, closed=closed)
    return {"reached": reached, "connections": map(connection_to_values, found)}


def _read_event(value: object, path: str) -> str:
    if value in ("opened", "closed"):
        return str(value)
    raise wrong_value(path, "'opened' or 'closed'", value)


async def _happens(
    waiters: Waiters,
    begin: Callable[[Callable[[], None]], AnyWaiter],
    timeout: float,  # noqa: ASYNC109 - it is what the client asked for
) -> bool:
    """Return whether what a waiter is begun for happens in time.

    Raises:
        HttpError: it can no longer happen.
    """
    over = trio.Event()
    waiter = begin(over.set)
    try:
        with trio.move_on_after(timeout):
            await over.wait()
    finally:
        waiters.remove(waiter)
    if over.is_set() and not waiter.is_met:
        raise HttpError(404, "what this waits for is gone: a reset, or the end of its server")
    return over.is_set()
