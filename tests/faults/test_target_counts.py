"""The numbers that a fault gives to connections, and how many of them it remembers."""

from __future__ import annotations

import pytest

from esps_portal.faults import target_counts
from esps_portal.faults.target_counts import TargetCounts


def test_the_source_that_was_silent_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(target_counts, "MAX_NUMBERS", 3)
    counts = TargetCounts()
    sources = [("127.0.0.1", port) for port in range(5)]
    assert [counts.connection(source) for source in sources[:3]] == [1, 2, 3]
    assert counts.connection(sources[0]) == 1
    assert [counts.connection(source) for source in sources[3:]] == [4, 5]
    assert [counts.known_connection(source) for source in sources] == [1, 0, 0, 4, 5]
    assert counts.connections == 5
    # It is a new one when it comes again.
    assert counts.connection(sources[1]) == 6
