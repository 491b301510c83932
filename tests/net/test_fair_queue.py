from __future__ import annotations

import pytest

from esps_portal.net.fair_queue import FairQueue

FLOODER, OTHER, CLIENT = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.2", 1)
# What a datagram of 24 bytes takes, with the objects that it is.
SIZE = 24
TAKEN = 1024


def filled(*flooders: tuple[str, int], places: int) -> tuple[FairQueue[str], list[int]]:
    """Offer many datagrams of each in turn; return how many of each were taken."""
    queue: FairQueue[str] = FairQueue(places * TAKEN)
    counts = [0] * len(flooders)
    for _ in range(places):
        for number, flooder in enumerate(flooders):
            if queue.has_room(flooder, SIZE):
                queue.add(flooder, f"flood {number}", SIZE)
                counts[number] += 1
    return queue, counts


@pytest.mark.parametrize(
    ("flooders", "counts"),
    [((FLOODER,), [50]), ((FLOODER, OTHER), [34, 33]), ((FLOODER, OTHER, CLIENT), [25] * 3)],
)
def test_each_may_hold_as_much_as_is_free(
    flooders: tuple[tuple[str, int], ...], counts: list[int]
) -> None:
    assert filled(*flooders, places=100)[1] == counts


def test_a_newcomer_has_its_turn_before_a_second_one_of_a_flooder() -> None:
    queue, _ = filled(FLOODER, OTHER, places=100)
    assert queue.has_room(CLIENT, SIZE)
    queue.add(CLIENT, "first", SIZE)
    queue.add(CLIENT, "second", SIZE)
    assert queue.take(5) == ["flood 0", "flood 1", "first", "flood 0", "flood 1"]
    assert queue.take(1) == ["second"]
    assert set(queue.take(1000)) == {"flood 0", "flood 1"}
    assert not queue


def test_what_was_taken_or_dropped_leaves_room() -> None:
    queue, (count,) = filled(FLOODER, places=10)
    assert not queue.has_room(FLOODER, SIZE)
    assert queue.take(1) == ["flood 0"]
    assert queue.has_room(FLOODER, SIZE)
    queue.clear()
    assert not queue
    assert queue.take(count) == []
    assert queue.has_room(FLOODER, 10 * TAKEN - 1000)


def test_a_datagram_counts_with_its_bytes() -> None:
    queue: FairQueue[str] = FairQueue(1 << 16)
    assert queue.has_room(FLOODER, 64_536)
    assert not queue.has_room(FLOODER, 64_537)
