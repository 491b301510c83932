"""The faults that are placed: who is told that they change, and which removed ones are kept."""

from __future__ import annotations

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry


def fails(_: bytes) -> bool:
    raise ValueError("no")


def test_each_change_is_told_and_makes_another_version() -> None:
    faults = FaultRegistry()
    seen: list[tuple[int, int]] = []
    faults.on_change.append(lambda: seen.append((faults.version, len(faults.in_force))))
    first, second, third = (faults.place(Fault.create("reset")) for _ in range(3))
    faults.remove(second)
    faults.remove(second)  # once more does nothing
    faults.remove_all()
    faults.place(first)
    faults.place(third)
    faults.clear()
    assert [count for _, count in seen] == [1, 2, 3, 2, 0, 1, 2, 0]
    assert len({version for version, _ in seen}) == len(seen)


def test_removed_faults_are_kept_for_the_report_that_needs_them() -> None:
    faults = FaultRegistry()
    never, struck, by_chance, failing = (
        faults.place(Fault.create("reset", **options))
        for options in ({}, {}, {"chance": 0.5}, {"match": fails})
    )
    struck.record_strike()
    failing.record_strike()
    assert failing.match is not None
    assert not failing.match.matches(b"")
    for _ in ("placed", "one is removed", "all are"):
        assert faults.never_struck == [never]
        assert faults.by_chance == [by_chance]
        assert faults.failed == [failing]
        if never in faults.in_force:
            faults.remove(never)
        else:
            faults.remove_all()
    assert faults.in_force == []
    faults.clear()
    assert faults.never_struck == faults.by_chance == faults.failed == []


def test_of_many_removed_faults_the_last_hundred_are_kept() -> None:
    faults = FaultRegistry()
    placed = [faults.place(Fault.create("reset")) for _ in range(120)]
    for fault in placed:
        faults.remove(fault)
    assert faults.never_struck == placed[20:]


def test_who_waits_for_a_strike_is_told() -> None:
    faults, struck = FaultRegistry(), list[Fault]()
    faults.on_strike.append(struck.append)
    fault = faults.place(Fault.create("reset"))
    fault.record_strike()
    assert struck == [fault]
