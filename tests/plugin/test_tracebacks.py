"""What a failing test shows: its own line, and of this library nothing that is no fault of its."""

from __future__ import annotations

import re

import pytest

from tests.plugin.outsider import SUITES, place, run
from tests.plugin.test_strict import reports

TESTS = re.findall(r"def (test_\w+)", (SUITES / "at_fault.py").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, shown: dict[str, str]) -> dict[str, str]:
    """Return the report of each test of the suite, which runs once."""
    if not shown:
        place(pytester, SUITES / "at_fault.py")
        result = run(pytester, "--tb=short", "--show-capture=no")
        result.assert_outcomes(failed=len(TESTS))
        shown.update(reports(result.stdout.str()))
    return shown


def frames(text: str) -> list[tuple[str, str]]:
    """Return each frame as its file and the line there."""
    return re.findall(r"(?m)^(\S+):\d+: in \w+\n +(.*)$", text)


@pytest.mark.parametrize("test", TESTS)
def test_the_last_frame_is_the_test_s(report: dict[str, str], test: str) -> None:
    *_, (file, line) = frames(report[test])
    ours = [file for file, _ in frames(report[test]) if re.search(r"esps_portal|contextlib", file)]
    if test == "test_a_fault_of_ours":
        assert ours
        assert file.endswith("esps_portal/mock/stubs.py")
    else:
        assert not ours
        assert file == "test_at_fault.py"
        assert line.endswith("# HERE")


def test_all_of_it_is_to_be_had(pytester: pytest.Pytester) -> None:
    place(pytester, SUITES / "at_fault.py")
    result = run(pytester, "--full-trace", "-k", "test_reply")
    result.stdout.fnmatch_lines(
        ["test_at_fault.py:*", "*esps_portal*stubs.py:*", "E  *TypeError: an argument is *"]
    )
