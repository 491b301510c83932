"""What faults make of one datagram, alone and together."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.faults.datagram_plan import DatagramPlan, pad_bytes, pad_line
from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.faults.plan import FaultPlan
from esps_portal.faults.target import FaultTarget, MissReason

DATA = b"\x00\x01\x02\x03\x04\x05\x06\x07"
Case = tuple[str, dict[str, Any]]


def planned(*cases: Case, data: bytes = DATA) -> DatagramPlan:
    faults = [Fault.create(kind, **options) for kind, options in cases]
    return FaultPlan.of(*faults).datagram(data, pad_bytes)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (("drop", {}), DatagramPlan()),
        (("duplicate", {"copies": 3}), DatagramPlan((DATA,) * 3)),
        (("reorder", {"replies": 2, "seconds": 3}), DatagramPlan((DATA,), delay=3, hold=2)),
        (("delay", {"seconds": 2}), DatagramPlan((DATA,), delay=2)),
        (("truncate", {"bytes": 3}), DatagramPlan((DATA[:3],), 0.0, 0, from_other_port=False)),
        (("patch", {"at": 2, "hex": "8200"}), DatagramPlan((b"\0\1\x82\0\4\5\6\7",))),
        (("patch", {"at": 7, "hex": "8200"}), DatagramPlan((b"\0\1\2\3\4\5\6\x82",))),
        (("patch", {"at": 8, "hex": "8200"}), DatagramPlan((DATA,))),
        (("oversize", {"bytes": 10}), DatagramPlan((DATA + b"\0\0",))),
        (("oversize", {"bytes": 8}), DatagramPlan((DATA,))),
        (("wrong-source", {}), DatagramPlan((DATA,), from_other_port=True)),
    ],
)
def test_one(case: Case, expected: DatagramPlan) -> None:
    assert planned(case) == expected


@pytest.mark.parametrize(
    ("cases", "expected"),
    [
        (
            [("duplicate", {}), ("patch", {"at": 0, "hex": "ff"})],
            DatagramPlan((b"\xff" + DATA[1:],) * 2),
        ),
        (
            [("truncate", {"bytes": 3}), ("patch", {"at": 2, "hex": "ffff"})],
            DatagramPlan((b"\0\1\xff",)),
        ),
        (
            [("oversize", {"bytes": 9}), ("patch", {"at": 8, "hex": "ff"})],
            DatagramPlan((DATA + b"\xff",)),
        ),
        ([("delay", {"seconds": 1}), ("delay", {"seconds": 2})], DatagramPlan((DATA,), delay=3)),
        (
            [("delay", {"seconds": 1}), ("wrong-source", {}), ("duplicate", {})],
            DatagramPlan((DATA,) * 2, delay=1, from_other_port=True),
        ),
        ([("drop", {}), ("duplicate", {})], DatagramPlan()),
        ([("duplicate", {}), ("drop", {})], DatagramPlan()),
    ],
)
def test_several(cases: list[Case], expected: DatagramPlan) -> None:
    assert planned(*cases) == expected


@pytest.mark.parametrize(("at", "changed"), [(0, [0, 1]), (6, [6, 7]), (7, [7]), (8, [])])
def test_corrupt_from_a_byte_on(at: int, changed: list[int]) -> None:
    (found,) = planned(("corrupt", {"bytes": 2, "at": at})).datagrams
    assert [n for n, byte in enumerate(found) if byte != DATA[n]] == changed


def test_corrupt_where_the_seed_says() -> None:
    (one,), (same,), (other,) = (
        planned(("corrupt", {"bytes": 2, "seed": seed})).datagrams for seed in (1, 1, 2)
    )
    assert one == same != other
    assert sum(a != b for a, b in zip(one, DATA, strict=True)) == 2


def test_copies_are_corrupted_alike() -> None:
    first, second = planned(("duplicate", {}), ("corrupt", {"bytes": 2})).datagrams
    assert first == second != DATA


def test_a_line_is_padded_within() -> None:
    fault = Fault.create("oversize", bytes=12)
    assert FaultPlan.of(fault).datagram(b"a OK x\n", pad_line).datagrams == (b"a OK x xxxx\n",)


def test_of_two_that_lose_a_datagram_one_claims_it() -> None:
    first, second = Fault.create("drop"), Fault.create("drop", times=1)
    faults = FaultRegistry()
    for fault in (first, second):
        faults.place(fault)
    assert [part.fault for part in faults.parts(FaultTarget("udp", "a"))] == [first]
    assert second.claim()


def test_an_empty_datagram_has_nothing_to_change() -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create("patch", at=0, hex="ff"))
    plan = faults.plan(FaultTarget("udp", "a"))
    assert plan is not None
    assert plan.datagram(b"", pad_bytes) == DatagramPlan((b"",))
    assert fault.nearest is not None
    assert (fault.nearest.reason, fault.nearest.reply_size) == (MissReason.NO_CHANGE, 0)


def test_what_is_lost_is_changed_by_nothing_later() -> None:
    faults = FaultRegistry()
    drop, twice = (faults.place(Fault.create(kind)) for kind in ("drop", "duplicate"))
    plan = faults.plan(FaultTarget("udp", "a"))
    assert plan is not None
    assert plan.datagram(DATA, pad_bytes) == DatagramPlan()
    assert (drop.happened, twice.happened) == (1, 0)


@pytest.mark.parametrize("before", ["drop", "delay"])
def test_before(before: str) -> None:
    plan = FaultPlan.of(
        Fault.create(before, when="before", **({"seconds": 2} if before == "delay" else {}))
    )
    assert plan.strikes_before
    assert plan.delay_before() == (2 if before == "delay" else None)


def test_reply_match_looks_at_the_whole_datagram() -> None:
    """And claims nothing until it matches: A and AAAA are asked together."""
    faults = FaultRegistry()
    fault = faults.place(Fault.create("drop", reply_match=b"\x06\x07", times=1))
    found = []
    for data in (b"other", DATA, DATA):
        plan = faults.plan(FaultTarget("udp", "a"))
        assert plan is not None
        found.append(plan.datagram(data, pad_bytes).datagrams)
    assert found == [(b"other",), (), (DATA,)]
    assert fault.happened == 1


def test_a_claim_is_given_back() -> None:
    faults = FaultRegistry()
    fault = faults.place(Fault.create("patch", at=8, hex="ff", times=1))
    for data, happened in ((DATA, 0), (DATA, 0), (DATA + b"x", 1)):
        plan = faults.plan(FaultTarget("udp", "a"))
        assert plan is not None
        plan.datagram(data, pad_bytes)
        assert fault.happened == happened
        if not happened:
            assert fault.nearest is not None
            assert fault.nearest.reason is MissReason.NO_CHANGE
            assert fault.nearest.reply_size == 8


def test_each_datagram_fault_is_here() -> None:
    udp = {kind for kind, found in FAULT_TYPES.items() if "udp" in found.transports}
    assert udp == {
        "drop",
        "duplicate",
        "reorder",
        "delay",
        "truncate",
        "corrupt",
        "patch",
        "oversize",
        "wrong-source",
    }
