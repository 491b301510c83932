"""A token bucket for each address, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol import error_budget
from esps_portal.protocol.error_budget import ErrorBudget

RATE, BURST = 100, 200


def taken(budget: ErrorBudget, address: object, now: float, tries: int = 1000) -> int:
    return sum(budget.take(address, now) for _ in range(tries))


def test_a_burst_and_then_so_many_a_second() -> None:
    # ESPS-UDP-45
    budget = ErrorBudget(RATE, BURST)
    assert taken(budget, "a", 5.0) == BURST
    assert taken(budget, "a", 5.5) == RATE // 2
    assert taken(budget, "a", 6.5) == RATE
    assert taken(budget, "a", 99.0) == BURST  # no more, however long it was quiet


def test_each_address_has_its_own() -> None:
    budget = ErrorBudget(RATE, BURST)
    assert [taken(budget, address, 0.0) for address in ("a", "b", "a")] == [BURST, BURST, 0]


def test_many_addresses_take_bounded_memory_and_no_more_than_a_few_do() -> None:
    most = error_budget._MAX_ADDRESSES  # noqa: SLF001 - it is seen nowhere else
    budget = ErrorBudget(RATE, BURST)
    for number in range(most):
        assert budget.take(number, 0.0)
    # All those beyond share one.
    assert sum(taken(budget, most + number, 0.0, tries=10) for number in range(100)) == BURST
    assert len(budget) == most + 1
    assert taken(budget, 0, 0.0) == BURST - 1
    # Once the one that was used longest ago is full again there is room for another.
    later = 10.0
    assert budget.take(0, later)
    assert [taken(budget, address, later) for address in ("new", "newer")] == [BURST, BURST]
    assert len(budget) <= most + 1


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, 0.001, 0.1, 3.0]))))
def test_over_any_time_no_more_than_the_burst_and_the_rate(steps: list[tuple[str, float]]) -> None:
    budget, now = ErrorBudget(10, 3), 0.0
    times: dict[str, list[float]] = {"a": [], "b": []}
    for address, later in steps:
        now += later
        if budget.take(address, now):
            times[address].append(now)
    for taken_at in times.values():
        for first in range(len(taken_at)):
            for last in range(first, len(taken_at)):
                seconds = taken_at[last] - taken_at[first]
                assert last - first + 1 <= 3 + 10 * seconds + 1e-6
