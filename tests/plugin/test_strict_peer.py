"""What a strict test fails for at the peers that it started, and what its report shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.plugin.suite_runs import SUITES, place, run_here
from tests.plugin.test_strict import reports

Report = Callable[[str], str]

WHERE = r"\(peer at 127\.0\.0\.1 port \d+\)"


@pytest.fixture(scope="module")
def ran() -> dict[str, str]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, ran: dict[str, str]) -> Report:
    """Return the report of a test of the suite, which runs once."""
    if not ran:
        place(pytester, SUITES / "strict_peer.py")
        result = run_here(pytester)
        result.assert_outcomes(passed=13, failed=5, errors=9)
        ran.update(reports(result.stdout.str()))
    return ran.__getitem__


@pytest.mark.parametrize(
    ("test", "lines"),
    [
        (
            "unexpected",
            [
                r"unexpected frame \(tcp #1\): PINK",
                "    nearest stub: 'PING': byte 3 is 0x4b 'K', not 0x47 'G'",
                "unused stub: 'QUIT': never used",
                r" +0\.\d+ tcp #1 +--> PINK\\n",
                r" +0\.\d+ tcp #1 +closed by the .*",
                WHERE,
            ],
        ),
        (
            "unexpected_bytes",
            [
                r"unexpected frame \(tcp #1\): 00 01 07 03 +\|\.\.\.\.\|",
                "    nearest stub: '00 01 02 03': byte 2 is 0x07, not 0x02",
                r" +0\.\d+ tcp #1 +--> 00 04 00 01 02 03 +\|\.{6}\|",
            ],
        ),
        ("no_stub", [r"unexpected frame \(tcp #1\): hello", "    there is no stub"]),
        ("used_up", ["    nearest stub: 'PING': it was for 1 frame, and is used up"]),
        (
            "never_struck",
            [
                "fault never struck: reset match='QUIT'",
                r"    selected 0 times; nearest: PING\\n \(tcp #1\): 'PING' does not match 'QUIT'",
            ],
        ),
        (
            "no_frame",
            ["bytes that are no frame: connection 1: the client sent 'half a li' at its end, .*"],
        ),
        (
            "conversation",
            [r"unfinished conversation \(expect 'a'; .*\): 2 of 4 steps done; next: expect 'b'"],
        ),
        ("just_before_the_end", [r"unexpected frame \(tcp #1\): LATE"]),
        ("datagram", [r"unexpected frame \(udp 127\.0\.0\.1:\d+\): hello"]),
    ],
)
def test_at_teardown(report: Report, test: str, lines: list[str]) -> None:
    text = report(f"ERROR at teardown of test_{test}")
    for line in lines:
        assert re.search(f"(?m)^{line}$", text), (line, text)
    assert "Traceback" not in text


def test_a_test_that_fails_itself(report: Report) -> None:
    text = report("test_that_fails_itself")
    assert "assert b'PONG\\n' == b'PING\\n'" in text
    assert "- esps-portal -" in text
    assert re.search(WHERE, text)


@pytest.mark.parametrize(
    ("test", "error"),
    [
        ("wrong_option", "unknown option greting; the options are greeting, udp, "),
        ("wrong_greeting", "greeting must be text, bytes, or several of them, got 3"),
        ("wrong_framing", "a framing is an object with the methods split and join, got 'lines'"),
        ("taken_port", "; try another port, or port=0"),
    ],
)
def test_what_cannot_start(report: Report, test: str, error: str) -> None:
    """The test's own line is shown, and none of ours."""
    text = report(f"test_{test}")
    assert error in text
    assert "esps_portal/testing" not in text
