"""Cases that share a test fail by name, each by itself."""

from __future__ import annotations

import pytest

from tests.cases import cases
from tests.plugin.suite_runs import run_here

FAILING = [("b", 2), ("c", 3), ("d", 4)]

SUITE = """
    import pytest
    from tests.cases import cases

    @pytest.fixture
    def limit():
        return 2

    @pytest.mark.parametrize("by", [1, -1])
    @cases(("name", "number"), ((name, ord(name) - 96) for name in "abcd"))
    def test_is_small(name, limit, number, by):
        assert number * by < limit
"""


def test_each_case_that_fails_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    result = run_here(pytester)
    result.assert_outcomes(passed=1, failed=1 + len(FAILING))
    result.stdout.fnmatch_lines(
        [
            f"SUBFAILED[[]({name!r}, {number})[]] *::test_is_small[[]1[]]*"
            for name, number in FAILING
        ]
    )


def test_cases_must_be_there_and_be_taken() -> None:
    with pytest.raises(AssertionError, match="cannot fail"):
        cases("name", [])
    with pytest.raises(AssertionError, match="no such argument"):
        cases("other", [1])(lambda: None)
