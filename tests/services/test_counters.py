"""The counters of the service `count`: bounded, and no client locks another one out."""

from __future__ import annotations

from esps_portal.services.builtin import Counters
from esps_portal.services.statistics import Statistics


def test_a_new_name_takes_the_place_of_the_one_counted_longest_ago() -> None:
    # ESPS-SVC-3, ESPS-SEC-2
    statistics = Statistics()
    counters = Counters(statistics.counts)
    for number in range(1024):
        assert counters.count(b"n%d" % number) == "1"
    assert counters.count(b"n0") == "2"
    assert counters.count(b"newcomer") == "1"
    assert len(statistics.counts) == 1024
    assert counters.count(b"n0") == "3"
    assert counters.count(b"n2") == "2"
    assert counters.count(b"n1") == "1"  # it was forgotten, and n3 for it


def test_a_flood_of_names_takes_bounded_memory() -> None:
    # ESPS-SVC-3
    statistics = Statistics()
    counters = Counters(statistics.counts)
    for number in range(10_000):
        counters.count(b"n%d" % number)
    assert len(statistics.counts) == 1024
    assert next(iter(statistics.counts)) == b"n8976"
