"""Bytes to exchanges, and where faults strike them: the same however the reads fall.

Rules 1 to 7 of units, without any socket.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esps_portal.exchanges.live_exchange import CLIENT, SERVER
from esps_portal.framings.delimiters import lines
from tests.proxy.conversations import BYTES, TURNS, WHOLE, hold, place, proxy_state

UNFRAMED: list[dict[str, Any]] = [
    {"kind": "reset", "offset": 3},
    {"kind": "reset", "match": b"GET", "offset": 4},
    {"kind": "close", "request": 2},
    {"kind": "close", "reply": 0, "offset": 4},
    {"kind": "close", "reply": [0, 2], "offset": 9},
    {"kind": "half-close", "match": re.compile(rb"INCR (?=n)"), "request": 2},
    {"kind": "reset", "when": "before", "match": b"some k"},
    {"kind": "garbage", "when": "before", "request": 3, "bytes": 5},
    {"kind": "latency", "when": "before", "match": b"ET so", "seconds": 1},
    {"kind": "deaf", "when": "before", "match": b"INCR", "request": 2},
    {"kind": "reset", "to": "server", "match": b"key", "offset": 1},
    {"kind": "close", "to": "server", "offset": 10},
    {"kind": "truncate", "bytes": 7, "match": b"GET"},
    {"kind": "patch", "at": 2, "hex": "ffffff"},
    {"kind": "patch", "at": 1, "hex": "00ff", "to": "server", "match": b"INCR"},
    {"kind": "corrupt", "at": 1, "bytes": 4, "seed": 9},
    {"kind": "slice", "at": 3, "pause": 1},
    {"kind": "slice", "every": 3, "pause": 1},
    {"kind": "latency", "seconds": 2, "times": 2},
    {"kind": "coalesce", "seconds": 2},
    {"kind": "reset", "reply_match": b"value", "offset": 2},
    {"kind": "patch", "at": 0, "hex": "00", "reply_match": b"5\r\n"},
    {"kind": "reset", "unit": "connection", "offset": 19},
    {"kind": "close", "unit": "connection", "to": "server", "offset": 12},
    {"kind": "patch", "unit": "connection", "at": 12, "hex": "aaaaaaaaaa"},
    {"kind": "slice", "unit": "connection", "every": 4, "pause": 1},
]
FRAMED: list[dict[str, Any]] = [
    *UNFRAMED,
    {"kind": "no-terminator", "request": 2},
    {"kind": "corrupt", "bytes": 2, "seed": 1},
    {"kind": "slice", "at": "middle", "pause": 1},
    {"kind": "slice", "at": "before-lf", "pause": 1},
    {"kind": "coalesce", "replies": 2, "seconds": 1},
    {"kind": "reset", "when": "before", "match": re.compile(rb"^GET")},
    {"kind": "reset", "to": "server", "match": lambda unit: unit.endswith(b"key"), "offset": 6},
    {"kind": "close", "reply_match": re.compile(rb"alu")},
]
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def in_random_pieces(check: Callable[[Sequence[int]], None]) -> None:
    """Check reads of random sizes; what is the same for all of them is done once, before."""
    given(sizes)(check)()


@pytest.mark.parametrize("framing", [None, lines("\r\n")])
def test_exchanges_are_the_same_however_reads_fall(framing: Any) -> None:  # noqa: ANN401 - a framing or none
    whole = hold(proxy_state(framing), TURNS, WHOLE)
    assert b"".join(data for side, data in TURNS if side == SERVER) == whole.came[CLIENT]

    def check(sizes: Sequence[int]) -> None:
        again = hold(proxy_state(framing), TURNS, sizes)
        assert again.said() == whole.said()
        assert again.came == whole.came

    check(BYTES)
    in_random_pieces(check)


@pytest.mark.parametrize(
    ("framing", "fault"),
    [
        *((None, fault) for fault in UNFRAMED),
        *((lines("\r\n"), fault) for fault in FRAMED),
    ],
)
def test_a_fault_strikes_at_the_same_byte_however_reads_fall(
    framing: Any,  # noqa: ANN401 - a framing or none
    fault: dict[str, Any],
) -> None:
    whole_state = proxy_state(framing)
    placed = place(whole_state, **fault)
    whole = hold(whole_state, TURNS, WHOLE)
    assert placed.happened, "the case is about a fault that strikes"

    def check(sizes: Sequence[int]) -> None:
        state = proxy_state(framing)
        again_placed = place(state, **fault)
        again = hold(state, TURNS, sizes)
        assert again.came == whole.came
        assert again.happened == whole.happened
        assert again.said() == whole.said()
        assert again_placed.happened == placed.happened

    check(BYTES)
    in_random_pieces(check)


@pytest.mark.parametrize("framing", [None, lines("\r\n")])
@settings(max_examples=100, deadline=None)
@given(
    faults=st.lists(st.sampled_from(UNFRAMED), min_size=2, max_size=4),
    times=st.sampled_from([None, 1, 2]),
    sizes=sizes,
)
def test_several_faults_strike_at_the_same_bytes_however_reads_fall(
    framing: Any,  # noqa: ANN401 - a framing or none
    faults: list[dict[str, Any]],
    times: int | None,
    sizes: list[int],
) -> None:
    seen = []
    for steps in (WHOLE, BYTES, sizes):
        state = proxy_state(framing)
        placed = [place(state, **{"times": times, **fault}) for fault in faults]
        spoken = hold(state, TURNS, steps)
        strikes = [fault.happened for fault in placed]
        # A fault that has not struck has given its turn back.
        can_strike = [fault.claim() for fault in placed]
        assert can_strike == [f.times is None or f.happened < f.times for f in placed]
        seen.append((spoken.came, spoken.happened, spoken.said(), strikes))
    assert seen[0] == seen[1] == seen[2]
