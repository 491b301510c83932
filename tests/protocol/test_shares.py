"""What one source holds, of what there is for all."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.protocol.shares import Shares


def taken(shares: Shares, *sources: tuple[Any, ...]) -> int:
    """Let each source take what it may; return how much that is."""
    before = shares.total
    for source in sources:
        while shares.has_room(source):
            shares.take(source)
    return shares.total - before


def sources(host: str) -> list[tuple[str, int]]:
    return [(host, port) for port in range(100)]


@pytest.mark.parametrize(("limit", "of_host"), [(1, 1), (2, 1), (3, 1), (32, 16), (33, 16)])
def test_a_host_holds_half_and_a_source_a_sixteenth(limit: int, of_host: int) -> None:
    # ESPS-UDP-43
    shares = Shares(limit)
    assert taken(shares, ("a", 1)) == max(1, limit // 16)
    assert taken(shares, *sources("a")) == of_host - max(1, limit // 16)
    assert taken(shares, *sources("b"), *sources("c")) == limit - of_host


def test_what_is_given_back_can_be_taken_and_no_more() -> None:
    # ESPS-UDP-43
    shares = Shares(32)
    everyone = [*sources("a"), *sources("b")]
    for _ in range(2):
        assert taken(shares, *everyone) == 32
        assert not any(map(shares.has_room, everyone))
        for port in range(8):
            shares.give_back(("a", port))
            shares.give_back(("a", port))
        assert taken(shares, ("b", 50)) == 0
        assert taken(shares, ("a", 50)) == 2
        assert taken(shares, *sources("a")) == 14
        for host, ports in (("a", [50, *range(7)]), ("b", range(8))):
            for port in ports:
                shares.give_back((host, port))
                shares.give_back((host, port))
        assert shares.total == 0


def test_what_a_client_writes_beside_its_port_makes_no_other_source() -> None:
    # Over IPv6 an address has a flow label too, which the sender chooses.
    shares = Shares(32)
    flows = [("::1", 1, flow, 0) for flow in range(9)]
    assert taken(shares, *flows) == 2
    shares.give_back(flows[5])
    assert taken(shares, *flows) == 1


def test_who_holds_nothing_takes_no_memory() -> None:
    shares = Shares(32)
    for port in range(1000):
        shares.take(("a", port))
        shares.give_back(("a", port))
    assert not shares._by_host  # noqa: SLF001 - it is seen nowhere else
    assert not shares._by_source  # noqa: SLF001 - likewise
