"""Placed faults: which requests and connections each one strikes, by number and by chance."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.faults.target import FaultTarget, MissReason, Stage


def placed(*faults: Fault) -> FaultRegistry:
    made = FaultRegistry()
    for fault in faults:
        made.place(fault)
    return made


def struck(faults: FaultRegistry, target: FaultTarget) -> Fault | None:
    """The first fault that strikes a target."""
    if target.is_connection:
        return faults.strike_connection(target)
    parts = faults.parts(target)
    return parts[0].fault if parts else None


def strikes(
    faults: FaultRegistry, service: bytes | None = b"echo", transport: str = "tcp", on: str = "a"
) -> bool:
    return struck(faults, FaultTarget(transport, on, service)) is not None


def accepted(on: object) -> FaultTarget:
    return FaultTarget("tcp", on, stage=Stage.CONNECTION)


def test_without_selectors_any_request_is_struck() -> None:
    faults = placed(Fault.create("reset"))
    assert strikes(faults)
    assert strikes(faults, None)
    assert not strikes(faults, transport="udp")


def test_by_service() -> None:
    faults = placed(Fault.create("reset", service="echo"))
    assert [strikes(faults, name) for name in (b"echo", b"Echo", b"count", None)] == [
        True,
        False,
        False,
        False,
    ]


def test_by_transport() -> None:
    faults = placed(Fault.create("truncate", transport="udp"))
    assert not strikes(faults, transport="tcp")
    assert strikes(faults, transport="udp")


@pytest.mark.parametrize("options", [{"offset": 1}, {"unit": "connection"}])
def test_a_datagram_has_no_offset_and_is_of_no_connection(options: dict[str, Any]) -> None:
    fault = Fault.create("truncate", **options)
    assert not strikes(placed(fault), transport="udp")
    assert fault.transports == {"tcp"}


@pytest.mark.parametrize(
    ("request_numbers", "struck"),
    [(1, [1]), (3, [3]), ([2, 4], [2, 4]), (range(2, 4), [2, 3]), ({5}, [5])],
)
def test_by_number_of_request(request_numbers: object, struck: list[int]) -> None:
    faults = placed(Fault.create("reset", request=request_numbers))
    assert [n for n in range(1, 7) if strikes(faults)] == struck


def test_requests_that_the_other_selectors_match_are_counted() -> None:
    faults = placed(Fault.create("reset", service="echo", request=2))
    assert not strikes(faults, b"count")
    assert not strikes(faults, b"echo")
    assert not strikes(faults, b"count")
    assert strikes(faults, b"echo")


def test_counting_starts_when_a_fault_is_placed() -> None:
    faults = placed()
    assert not strikes(faults)
    faults.place(Fault.create("reset", request=1))
    assert strikes(faults)
    assert not strikes(faults)


def test_by_number_of_connection() -> None:
    faults = placed(Fault.create("reset", connection=2))
    assert not strikes(faults, on="old")
    assert strikes(faults, on="new")
    assert not strikes(faults, on="old")
    assert strikes(faults, on="new")


def test_connections_are_counted_as_they_are_accepted() -> None:
    faults = placed(Fault.create("reset", connection=2))
    for name in ("a", "b"):
        assert struck(faults, accepted(name)) is None
    assert strikes(faults, on="b")
    assert not strikes(faults, on="a")


def test_connections_that_the_other_selectors_match_are_counted() -> None:
    faults = placed(Fault.create("reset", connection=1, service="count"))
    for name in ("a", "b"):
        assert struck(faults, accepted(name)) is None
    assert not strikes(faults, b"echo", on="a")
    assert strikes(faults, b"count", on="b")
    assert not strikes(faults, b"count", on="a")


def test_requests_are_counted_on_selected_connections() -> None:
    faults = placed(Fault.create("reset", connection=2, request=2))
    assert not strikes(faults, on="a")
    assert not strikes(faults, on="b")
    assert not strikes(faults, on="a")
    assert strikes(faults, on="b")


def test_a_udp_fault_does_not_count_tcp_connections() -> None:
    faults = placed(Fault.create("drop", connection=1))
    assert struck(faults, accepted("tcp")) is None
    assert strikes(faults, transport="udp", on="udp")


def test_the_number_of_an_ended_connection_is_not_reused() -> None:
    faults = placed(Fault.create("reset", connection=2))
    assert not strikes(faults, on="a")
    faults.forget("a")
    assert strikes(faults, on="b")
    faults.forget("b")
    assert not strikes(faults, on="a")  # the third, though it looks like the first


def test_times() -> None:
    fault = Fault.create("reset", times=2)
    faults = placed(fault)
    assert [strikes(faults) for _ in range(4)] == [True, True, False, False]
    assert fault.selected == 4


def test_chance_is_the_same_for_the_same_seed() -> None:
    def claims(fault: Fault) -> list[bool]:
        return [strikes(placed(fault)) for _ in range(64)]

    first = claims(Fault.create("reset", chance=0.5, seed=7))
    assert first == claims(Fault.create("reset", chance=0.5, seed=7))
    assert first != claims(Fault.create("reset", chance=0.5, seed=8))
    assert 10 < sum(first) < 54
    assert all(claims(Fault.create("reset", chance=1)))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("reset", {"chance": 0.5}),
        ("garbage", {"chance": 0.5}),
        ("corrupt", {"chance": 0.5}),
        ("latency", {"seconds": 1, "jitter": 1}),
        ("delay", {"seconds": 1, "jitter": 1}),
    ],
)
def test_a_seed_reproduces_a_fault(kind: str, options: dict[str, Any]) -> None:
    fault = Fault.create(kind, **options)
    shown = dict(part.split("=") for part in str(fault).split()[1:])
    assert int(shown["seed"]) == fault.seed
    again = Fault.create(kind, **options, seed=fault.seed)
    assert [again.claim() for _ in range(32)] == [fault.claim() for _ in range(32)]
    if "jitter" in options:
        assert again.next_delay() == fault.next_delay()
        assert 1 <= again.next_delay() <= 2


def test_all_faults_count_and_the_first_strikes() -> None:
    first, second = Fault.create("close", request=2), Fault.create("reset", request=[1, 2, 3])
    faults = placed(first, second)
    assert [struck(faults, FaultTarget("tcp", "a")) for _ in range(4)] == [
        second,
        first,
        second,
        None,
    ]
    assert (first.selected, second.selected) == (1, 3)


def test_of_those_that_end_a_unit_at_once_only_one_claims_it() -> None:
    late, first, second = (
        Fault.create("latency", seconds=1),
        Fault.create("close"),
        Fault.create("reset", times=1),
    )
    parts = placed(late, first, second).parts(FaultTarget("tcp", "a"))
    assert [part.fault for part in parts] == [late, first]
    assert second.claim()
    assert [fault.nearest and fault.nearest.reason for fault in (late, first, second)] == [
        MissReason.NO_REPLY,
        MissReason.NO_REPLY,
        MissReason.CLAIMED,
    ]


def test_without_what_a_client_says_only_others_are_asked() -> None:
    first, second = Fault.create("reset", match="GET"), Fault.create("close")
    parts = placed(first, second).parts(FaultTarget("tcp", "a"), without_match=True)
    assert [part.fault for part in parts] == [second]
    assert (first.selected, first.nearest) == (0, None)


def test_a_used_up_fault_lets_the_next_strike() -> None:
    first, second = Fault.create("close", times=1), Fault.create("reset")
    faults = placed(first, second)
    assert [struck(faults, FaultTarget("tcp", "a")) for _ in range(2)] == [first, second]


def test_accept_close_strikes_connections_only() -> None:
    fault = Fault.create("accept-close", connection=2, times=1)
    faults = placed(fault)
    assert not strikes(faults)
    assert [struck(faults, accepted(n)) for n in "abc"] == [None, fault, None]
    assert struck(placed(Fault.create("reset")), accepted("a")) is None


def test_removed() -> None:
    fault = Fault.create("reset")
    faults = placed(fault)
    assert faults.in_force == [fault]
    faults.remove(fault)
    faults.remove(fault)  # once more does nothing
    assert not strikes(faults)
    faults.place(fault)
    faults.clear()
    assert faults.in_force == []


def test_as_text() -> None:
    fault = Fault.create(
        "latency",
        seconds=0.5,
        when="before",
        service="echo",
        times=3,
        chance=0.25,
        seed=9,
        connection=[2, 1],
        request=4,
    )
    assert str(fault) == (
        "latency seconds=0.5 jitter=0.0 when=before service=echo times=3 chance=0.25 seed=9"
        " connection=1,2 request=4"
    )


def test_a_seed_is_shown_once() -> None:
    fault = Fault.create("garbage", chance=0.5, seed=3, times=2)
    assert str(fault) == "garbage bytes=64 seed=3 times=2 chance=0.5"


def test_a_slice_has_one_place_as_text() -> None:
    assert str(Fault.create("slice")) == "slice at=middle pause=0.05"
    assert str(Fault.create("slice", every=3)) == "slice pause=0.05 every=3"


def test_an_ended_connection_is_not_kept_in_memory() -> None:
    class Peer:
        """A weak reference shows whether it is still in memory."""

    fault = Fault.create("close", connection=[3])
    peers = []
    for number in range(1, 5):
        peer = Peer()
        peers.append(weakref.ref(peer))
        assert fault.selects(accepted(peer)) is False
        assert fault.selects(FaultTarget("tcp", peer, b"echo")) is (number == 3)
        fault.forget(peer)
    del peer
    assert [peer() for peer in peers] == [None] * 4
    assert len(fault.counts._numbers) == 0  # noqa: SLF001 - memory is not to be seen otherwise
