"""What a strict test fails for at the proxies that it started, and what its report shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.plugin.suite_runs import SUITES, place, run_here
from tests.plugin.test_strict import reports

Report = Callable[[str], str]

WHERE = r"\(proxy at 127\.0\.0\.1 port \d+, upstream tcp://127\.0\.0\.1:\d+\)"


@pytest.fixture(scope="module")
def ran() -> dict[str, str]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, ran: dict[str, str]) -> Report:
    """Return the report of a test of the suite, which runs once."""
    if not ran:
        place(pytester, SUITES / "strict_proxy.py")
        result = run_here(pytester)
        result.assert_outcomes(passed=60, failed=4, errors=7)
        ran.update(reports(result.stdout.str()))
    return ran.__getitem__


@pytest.mark.parametrize(
    ("test", "lines"),
    [
        (
            "never_struck",
            [
                "fault never struck: reset request=2",
                r"    selected 0 times; nearest: GET n\\n \(tcp #1\): request 2 never came: .*",
                r" +0\.\d+ tcp #1 +opened by 127\.0\.0\.1:\d+",
                r" +0\.\d+ tcp #1 +--> GET n\\n",
                WHERE,
            ],
        ),
        (
            "removed",
            [
                "fault never struck: close",
                "    selected 0 times; no reply came before it was removed",
                WHERE,
            ],
        ),
        (
            "not_reached",
            [
                r"upstream tcp://\S+ could not be reached: Connection refused \(once\)",
                r" +0\.\d+ tcp #1 +closed by the proxy \(RST\): the upstream could not be .*",
            ],
        ),
        (
            "no_frame",
            [r"bytes that are no frame: connection 1: the client sent 'GET n\\n' at its end, .*"],
        ),
        ("in_front_of_the_portal", ["unexpected call: nobody", r"\(portal at .*\)"]),
        (
            "just_before_the_end",
            [r"    selected 0 times; nearest: LATE\\n .*", r" +0\.\d+ tcp #1 +--> LATE\\n"],
        ),
    ],
)
def test_at_teardown(report: Report, test: str, lines: list[str]) -> None:
    text = report(f"ERROR at teardown of test_{test}")
    for line in lines:
        assert re.search(f"(?m)^{line}$", text), (line, text)
    assert "Traceback" not in text


def test_one_of_two(report: Report) -> None:
    text = report("ERROR at teardown of test_one_of_two")
    assert text.count("fault never struck") == 1
    assert len(re.findall(WHERE, text)) == 1


def test_a_test_that_fails_itself(report: Report) -> None:
    text = report("test_that_fails_itself")
    assert "assert b'GET n\\n' == b'GET m\\n'" in text
    assert "- esps-portal -" in text
    assert "fault never struck: reset request=2" in text
    assert re.search(WHERE, text)


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("wrong_upstream", "unknown scheme in 'redis://127.0.0.1': write tcp://HOST:PORT"),
        (
            "wrong_option",
            "unknown option hots; the options are framing, reply_framing, host, port,",
        ),
        ("taken_port", "; try another port, or port=0"),
    ],
)
def test_what_cannot_start(report: Report, test: str, error: str) -> None:
    """The test's own line is shown, and none of ours."""
    text = report(f"test_{test}")
    assert error in text
    assert "esps_portal/testing" not in text
