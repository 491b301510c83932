"""A failing test shows its own line, and no frame of this library unless that has a bug."""

from __future__ import annotations

import re

import pytest

from tests.plugin.suite_runs import SUITES, place, run_here
from tests.plugin.test_strict import reports

TESTS = re.findall(r"def (test_\w+)", (SUITES / "failing.py").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, shown: dict[str, str]) -> dict[str, str]:
    """Return the report of each test of the suite, which runs once."""
    if not shown:
        place(pytester, SUITES / "failing.py")
        result = run_here(pytester, "--tb=short", "--show-capture=no")
        result.assert_outcomes(failed=len(TESTS))
        shown.update(reports(result.stdout.str()))
    return shown


def frames(text: str) -> list[tuple[str, str]]:
    """Return each frame as its file and the line there."""
    return re.findall(r"(?m)^(\S+):\d+: in \w+\n +(.*)$", text)


@pytest.mark.parametrize("test", TESTS)
def test_the_last_frame_is_the_test(report: dict[str, str], test: str) -> None:
    *_, (file, line) = frames(report[test])
    ours = [file for file, _ in frames(report[test]) if re.search(r"esps_portal|contextlib", file)]
    if test == "test_a_bug_of_ours":
        assert ours
        assert file.endswith("esps_portal/mock/stubs.py")
    else:
        assert not ours
        assert file == "test_failing.py"
        assert line.endswith("# HERE")
        assert "direct cause" not in report[test]
        assert "another exception" not in report[test]


@pytest.mark.parametrize(
    ("test", "hint"),
    [
        ("test_factory_that_cannot_listen", "; use another host"),
        ("test_factory_on_a_port_in_use", "); try another port, or port=0"),
    ],
)
def test_a_factory_that_cannot_listen_has_a_hint(
    report: dict[str, str], test: str, hint: str
) -> None:
    (line,) = re.findall("(?m)^E .*$", report[test])
    assert line.startswith("E   esps_portal.net.bind.CannotBindError: cannot listen on ")
    assert line.endswith(hint)


def test_full_trace_shows_all_frames(pytester: pytest.Pytester) -> None:
    place(pytester, SUITES / "failing.py")
    result = run_here(pytester, "--full-trace", "-k", "test_reply")
    result.stdout.fnmatch_lines(
        ["test_failing.py:*", "*esps_portal*stubs.py:*", "E  *TypeError: an argument must be *"]
    )
    result = run_here(pytester, "--full-trace", "-k", "cannot_listen")
    result.stdout.fnmatch_lines(["*socket.gaierror: *", "*direct cause*", "*CannotBindError: *"])
