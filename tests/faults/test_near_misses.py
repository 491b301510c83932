"""What a fault keeps of what it has let pass: little of it, and the first that was as near."""

from __future__ import annotations

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.faults.near_misses import NearMisses
from esps_portal.faults.target import FaultTarget, MissReason


def target(service: bytes = b"", said: bytes = b"") -> FaultTarget:
    return FaultTarget("tcp", None, service, request_data=said)


def test_so_many_other_services_are_kept() -> None:
    misses = NearMisses()
    for number in range(100):
        misses.add(MissReason.SERVICE, target(b"s%d" % number), 0)
    assert list(misses.passed) == [b"s%d" % number for number in range(64)]


def test_the_first_bytes_of_so_many_requests_are_kept() -> None:
    misses = NearMisses()
    for number in range(100):
        misses.add(MissReason.MATCH, target(said=b"%d" % number + b"x" * 1000), 0)
    begins = [b"%d" % number for number in range(16)]
    assert list(misses.unmatched) == [begin.ljust(256, b"x") for begin in begins]
    assert {len(kept.request_data) for kept in misses.unmatched.values()} == {256}


def test_of_two_that_are_as_near_the_first_is_kept() -> None:
    misses = NearMisses()
    misses.add(MissReason.SERVICE, target(b"first"), 0)
    misses.add(MissReason.SERVICE, target(b"second"), 0)
    assert misses.nearest is not None
    assert misses.nearest.target.service == b"first"
    misses.add(MissReason.MATCH, target(b"nearer"), 0)
    assert misses.nearest.target.service == b"nearer"


def test_what_explains_a_miss_makes_it_nearer_and_never_farther() -> None:
    misses = NearMisses()
    misses.explain(MissReason.NO_REPLY)  # of what was never near
    assert misses.nearest is None
    misses.add(MissReason.SERVICE, target(b"first"), 2)
    misses.explain(MissReason.REPLY_MATCH)
    misses.explain(MissReason.REPLY)
    assert misses.nearest is not None
    assert (misses.nearest.reason, misses.nearest.connection_number) == (MissReason.REPLY_MATCH, 2)


def test_the_first_failure_of_a_predicate_is_told() -> None:
    errors = iter([ValueError("first"), KeyError("second")])

    def predicate(_: bytes) -> bool:
        raise next(errors)

    fault = Fault.create("reset", match=predicate)
    assert fault.match is not None
    for _ in range(2):
        assert not fault.match.matches(b"x")
    with pytest.raises(StopIteration):
        next(errors)
    assert fault.failure == "ValueError: first"


def test_an_interrupt_within_a_predicate_is_none_of_its_failures() -> None:
    def predicate(_: bytes) -> bool:
        raise KeyboardInterrupt

    fault = Fault.create("reset", match=predicate)
    assert fault.match is not None
    with pytest.raises(KeyboardInterrupt):
        fault.match.matches(b"x")
    assert fault.failure == ""
