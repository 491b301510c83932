"""Strategies of Hypothesis that draw faults: a failing example shrinks to the fewest and simplest.

Needs the extra ``hypothesis``. A client that survives each schedule has met each fault at each
place; see `esps_portal.testing.PortalController.faults` for how one is placed::

    from esps_portal.testing import strategies

    @given(schedule=strategies.faults("close", "reset", "truncate", requests=2, offsets=16))
    def test_survives(schedule):
        with proxy.faults(schedule):
            ...
"""

from __future__ import annotations

import importlib.util
from typing import Any, Literal, TypeAlias

if importlib.util.find_spec("hypothesis") is None:
    raise ModuleNotFoundError(
        "esps_portal.testing.strategies needs Hypothesis: pip install 'esps-portal[hypothesis]'",
        name="hypothesis",
    )

from hypothesis import strategies as st

from esps_portal.faults.fault_types import (
    BOTH,
    CERTIFICATE_PROBLEMS,
    FAULT_TYPES,
    find_fault_type,
)
from esps_portal.faults.parameters import FaultError
from esps_portal.faults.selectors import works_over
from esps_portal.given_numbers import shown_value
from esps_portal.mock.planned_fault import PlannedFault
from esps_portal.testing.fault_selectors import FaultName
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

__all__ = ["PlannedFault", "faults"]

_Drawn: TypeAlias = st.SearchStrategy[int]
_Numbers: TypeAlias = int | _Drawn
_Options: TypeAlias = dict[str, st.SearchStrategy[Any]]

# Faults of a time that no test should wait for long: seconds, the simplest first.
_SECONDS = st.sampled_from([0.01, 0.05, 0.2])
# Bytes per second: a short reply still comes within some tenths of a second.
_RATES = st.sampled_from([1000, 100])

# How a value of each parameter is drawn, where that is the same for all faults. What is not here
# keeps its default: `replies` of coalesce and `jitter`, for one, would need more than a fault says.
_PARAMETERS: _Options = {
    "seconds": _SECONDS,
    "pause": _SECONDS,
    "bytes_per_second": _RATES,
    "copies": st.integers(2, 3),
    "hex": st.binary(min_size=1, max_size=4).map(bytes.hex),
    "problem": st.sampled_from(CERTIFICATE_PROBLEMS),
}
# Most bytes that are changed or made up.
_MAX_BYTES = 8
# These need a framing, which the strategy does not know, or TLS.
_ON_REQUEST_ONLY = ("no-terminator", "certificate")
# These take their place from a parameter, or have none.
_WITHOUT_OFFSET = ("truncate", "corrupt", "patch", "deaf", "accept-close", "certificate")


def faults(
    *kinds: FaultName,
    max_size: int = 3,
    requests: _Numbers = 3,
    offsets: _Numbers = 64,
    transport: Literal["tcp", "udp"] | None = None,
) -> st.SearchStrategy[list[PlannedFault]]:
    """Return a strategy of schedules: lists of at most ``max_size`` faults, for a ``faults`` block.

    An example shrinks to fewer faults, kinds that were named earlier, the first request, the first
    byte and short times. Each fault strikes one request, or one connection, so that the schedule
    means the same in each run. ``stall`` and ``deaf`` need a client with a timeout.

    Args:
        kinds: names of faults, the simplest first; by default all of that transport, without those
            that need a framing or TLS.
        max_size: most faults of one schedule, a positive integer.
        requests: the highest number of a request that is struck; or a strategy of numbers, from 1.
        offsets: the highest number of bytes that pass first; or a strategy of numbers, from 0.
        transport: only faults of that transport; by default of both.

    Raises:
        FaultError: there is no such fault, or it does not work over that transport.
        ValueError: a number is too small.

    Example: ``faults("close", "truncate", requests=2, offsets=16, transport="tcp")``.
    """
    if max_size < 1:
        raise ValueError(f"max_size must be a positive integer, got {shown_value(max_size)}")
    numbers = _up_to("requests", requests, 1)
    places = _up_to("offsets", offsets, 0)
    chosen = [_fault(kind, numbers, places, transport) for kind in _chosen(kinds, transport)]
    return st.lists(st.one_of(chosen), min_size=0, max_size=max_size)


def _chosen(kinds: tuple[FaultName, ...], transport: str | None) -> list[str]:
    """Return the names of the faults to draw from.

    Raises:
        FaultError: one is unknown, or does not work over the transport.
    """
    if transport not in (None, *BOTH):
        raise FaultError(f"transport must be 'tcp' or 'udp', got {shown_value(transport)}")
    for kind in kinds:
        if transport is not None and transport not in find_fault_type(kind).transports:
            raise FaultError(works_over(kind))
    wanted = BOTH if transport is None else {transport}
    return list(kinds) or [
        kind
        for kind, fault_type in FAULT_TYPES.items()
        if fault_type.transports & wanted and kind not in _ON_REQUEST_ONLY
    ]


def _fault(
    kind: str,
    numbers: st.SearchStrategy[int],
    places: st.SearchStrategy[int],
    transport: str | None,
) -> st.SearchStrategy[PlannedFault]:
    """Return a strategy of faults of one kind."""
    fault_type = find_fault_type(kind)
    drawn: _Options = {"connection" if fault_type.precedes_requests else "request": numbers}
    drawn |= _parameters(kind, places)
    if transport is not None and len(fault_type.transports) > 1:
        drawn["transport"] = st.just(transport)
    if fault_type.transports == {"tcp"} and kind not in _WITHOUT_OFFSET:
        # Always, even if it is 0: else a fault without one would be simpler than one named earlier.
        drawn["offset"] = places
    return st.builds(PlannedFault, st.just(kind), st.fixed_dictionaries(drawn))


def _parameters(kind: str, places: _Drawn) -> _Options:
    """Return how the parameters of a fault are drawn."""
    known = FAULT_TYPES[kind].parameters
    drawn = {name: _PARAMETERS[name] for name in known if name in _PARAMETERS}
    if kind == "slice":
        drawn["at"] = places.map(lambda place: place + 1)
    elif "at" in known:
        drawn["at"] = places
    if kind == "truncate":
        drawn["bytes"] = places
    elif kind in ("corrupt", "garbage"):
        drawn["bytes"] = st.integers(1, _MAX_BYTES)
        drawn["seed"] = st.integers(0, 2**16)
    return drawn


def _up_to(name: str, numbers: _Numbers, minimum: int) -> _Drawn:
    if isinstance(numbers, st.SearchStrategy):
        return numbers
    if isinstance(numbers, bool) or numbers < minimum:
        raise ValueError(
            f"{name} must be an integer of at least {minimum}, got {shown_value(numbers)}"
        )
    return st.integers(minimum, numbers)
