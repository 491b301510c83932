"""Faults that are placed: whom each befalls, counted and drawn."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from esps_portal.faults.fault import Fault, FaultRegistry, FaultTarget


def book(*faults: Fault) -> FaultRegistry:
    made = FaultRegistry()
    for fault in faults:
        made.place(fault)
    return made


def happens(
    faults: FaultRegistry, service: bytes | None = b"echo", transport: str = "tcp", on: str = "a"
) -> bool:
    return faults.for_target(FaultTarget(transport, on, service)) is not None


def accepted(on: object) -> FaultTarget:
    return FaultTarget("tcp", on, is_connection=True)


def test_any_request() -> None:
    faults = book(Fault.create("reset"))
    assert happens(faults)
    assert happens(faults, None)
    assert not happens(faults, transport="udp")


def test_by_service() -> None:
    faults = book(Fault.create("reset", service="echo"))
    assert [happens(faults, name) for name in (b"echo", b"Echo", b"count", None)] == [
        True,
        False,
        False,
        False,
    ]


def test_by_transport() -> None:
    faults = book(Fault.create("truncate", transport="udp"))
    assert not happens(faults, transport="tcp")
    assert happens(faults, transport="udp")


@pytest.mark.parametrize(
    ("request_numbers", "befallen"),
    [(1, [1]), (3, [3]), ([2, 4], [2, 4]), (range(2, 4), [2, 3]), ({5}, [5])],
)
def test_by_number_of_request(request_numbers: object, befallen: list[int]) -> None:
    faults = book(Fault.create("reset", request=request_numbers))
    assert [n for n in range(1, 7) if happens(faults)] == befallen


def test_requests_are_counted_among_what_the_other_selectors_match() -> None:
    faults = book(Fault.create("reset", service="echo", request=2))
    assert not happens(faults, b"count")
    assert not happens(faults, b"echo")
    assert not happens(faults, b"count")
    assert happens(faults, b"echo")


def test_counted_from_when_it_is_placed() -> None:
    faults = book()
    assert not happens(faults)
    faults.place(Fault.create("reset", request=1))
    assert happens(faults)
    assert not happens(faults)


def test_by_number_of_connection() -> None:
    faults = book(Fault.create("reset", connection=2))
    assert not happens(faults, on="old")
    assert happens(faults, on="new")
    assert not happens(faults, on="old")
    assert happens(faults, on="new")


def test_connections_are_counted_as_they_are_accepted() -> None:
    faults = book(Fault.create("reset", connection=2))
    for name in ("a", "b"):
        assert faults.for_target(accepted(name)) is None
    assert happens(faults, on="b")
    assert not happens(faults, on="a")


def test_connections_are_counted_among_what_the_other_selectors_match() -> None:
    faults = book(Fault.create("reset", connection=1, service="count"))
    assert not happens(faults, b"echo", on="a")
    assert happens(faults, b"count", on="b")
    assert not happens(faults, b"count", on="a")


def test_a_request_is_counted_on_the_connections_that_are_meant() -> None:
    faults = book(Fault.create("reset", connection=2, request=2))
    assert not happens(faults, on="a")
    assert not happens(faults, on="b")
    assert not happens(faults, on="a")
    assert happens(faults, on="b")


def test_a_tcp_connection_is_none_over_udp() -> None:
    faults = book(Fault.create("drop", connection=1))
    assert faults.for_target(accepted("tcp")) is None
    assert happens(faults, transport="udp", on="udp")


def test_a_connection_that_is_gone_keeps_its_number() -> None:
    faults = book(Fault.create("reset", connection=2))
    assert not happens(faults, on="a")
    faults.forget("a")
    assert happens(faults, on="b")
    faults.forget("b")
    assert not happens(faults, on="a")  # the third, though it looks like the first


def test_times() -> None:
    fault = Fault.create("reset", times=2)
    faults = book(fault)
    assert [happens(faults) for _ in range(4)] == [True, True, False, False]
    assert fault.selected == 4


def test_chance_is_the_same_for_the_same_seed() -> None:
    def drawn(fault: Fault) -> list[bool]:
        return [happens(book(fault)) for _ in range(64)]

    first = drawn(Fault.create("reset", chance=0.5, seed=7))
    assert first == drawn(Fault.create("reset", chance=0.5, seed=7))
    assert first != drawn(Fault.create("reset", chance=0.5, seed=8))
    assert 10 < sum(first) < 54
    assert not any(drawn(Fault.create("reset", chance=0)))
    assert all(drawn(Fault.create("reset", chance=1)))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reset", {"chance": 0.5}),
        ("garbage", {"chance": 0.5}),
        ("corrupt", {"chance": 0.5}),
        ("latency", {"seconds": 1, "jitter": 1}),
        ("delay", {"seconds": 1, "jitter": 1}),
    ],
)
def test_what_is_drawn_can_be_had_again(kind: str, said: dict[str, Any]) -> None:
    fault = Fault.create(kind, **said)
    words = dict(word.split("=") for word in str(fault).split()[1:])
    assert int(words["seed"]) == fault.seed
    again = Fault.create(kind, **said, seed=fault.seed)
    assert [again.claim() for _ in range(32)] == [fault.claim() for _ in range(32)]
    if "jitter" in said:
        assert again.next_delay() == fault.next_delay()
        assert 1 <= again.next_delay() <= 2


def test_all_count_and_the_first_happens() -> None:
    first, second = Fault.create("close", request=2), Fault.create("reset", request=[1, 2, 3])
    faults = book(first, second)
    assert [faults.for_target(FaultTarget("tcp", "a")) for _ in range(4)] == [
        second,
        first,
        second,
        None,
    ]
    assert (first.selected, second.selected) == (1, 3)


def test_one_that_is_spent_lets_the_next_happen() -> None:
    first, second = Fault.create("close", times=1), Fault.create("reset")
    faults = book(first, second)
    assert [faults.for_target(FaultTarget("tcp", "a")) for _ in range(2)] == [first, second]


def test_accept_close_befalls_connections_alone() -> None:
    fault = Fault.create("accept-close", connection=2, times=1)
    faults = book(fault)
    assert not happens(faults)
    assert [faults.for_target(accepted(n)) for n in "abc"] == [None, fault, None]
    assert book(Fault.create("reset")).for_target(accepted("a")) is None


def test_lifted() -> None:
    fault = Fault.create("reset")
    faults = book(fault)
    assert faults.in_force == [fault]
    faults.remove(fault)
    faults.remove(fault)  # once more does nothing
    assert not happens(faults)
    faults.place(fault)
    faults.clear()
    assert faults.in_force == []


def test_in_words() -> None:
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


def test_connections_that_are_gone_keep_their_numbers_and_nothing_else() -> None:
    class Peer:
        """Its end is seen by a weak reference."""

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
    assert len(fault._connections) == 0  # noqa: SLF001 - memory is not to be seen otherwise
