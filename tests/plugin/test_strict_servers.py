"""What a strict test fails for at its peers and proxies, and what its report shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.plugin.suite_runs import SUITES, place, run_here
from tests.plugin.test_strict import reports

#: Gets the report of a test of the suite of a server.
Report = Callable[[str, str], str]

OUTCOMES = {
    "peer": {"passed": 14, "failed": 5, "errors": 10},
    "proxy": {"passed": 60, "failed": 4, "errors": 7},
}
#: How a report says which server it is about.
WHERE = {
    "peer": r"\(peer at 127\.0\.0\.1 port \d+\)",
    "proxy": r"\(proxy at 127\.0\.0\.1 port \d+, upstream tcp://127\.0\.0\.1:\d+\)",
}


@pytest.fixture(scope="module")
def ran() -> dict[str, dict[str, str]]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, ran: dict[str, dict[str, str]]) -> Report:
    """Return the report of a test of a suite; each suite runs once."""

    def find(server: str, test: str) -> str:
        if server not in ran:
            place(pytester, SUITES / f"strict_{server}.py")
            result = run_here(pytester)
            result.assert_outcomes(**OUTCOMES[server])
            ran[server] = reports(result.stdout.str())
        return ran[server][test]

    return find


@pytest.mark.parametrize(
    ("server", "test", "lines"),
    [
        (
            "peer",
            "unexpected",
            [
                r"unexpected frame \(tcp #1\): PINK",
                "    nearest stub: 'PING': byte 3 is 0x4b 'K', not 0x47 'G'",
                "unused stub: 'QUIT': never used",
                r" +0\.\d+ tcp #1 +--> PINK\\n",
                r" +0\.\d+ tcp #1 +closed by the .*",
                WHERE["peer"],
            ],
        ),
        (
            "peer",
            "unexpected_bytes",
            [
                r"unexpected frame \(tcp #1\): 00 01 07 03 +\|\.\.\.\.\|",
                "    nearest stub: '00 01 02 03': byte 2 is 0x07, not 0x02",
                r" +0\.\d+ tcp #1 +--> 00 04 00 01 02 03 +\|\.{6}\|",
            ],
        ),
        ("peer", "no_stub", [r"unexpected frame \(tcp #1\): hello", "    there is no stub"]),
        (
            "peer",
            "empty",
            [
                r"unexpected frame \(tcp #1\): \(empty\)",
                "    nearest stub: 'PING': it ends after 0 bytes; expected 'PING' more",
            ],
        ),
        ("peer", "used_up", ["    nearest stub: 'PING': it was for 1 frame, and is used up"]),
        (
            "peer",
            "never_struck",
            [
                "fault never struck: reset match='QUIT'",
                r"    selected 0 times; nearest: PING\\n \(tcp #1\): 'PING' does not match 'QUIT'",
            ],
        ),
        (
            "peer",
            "no_frame",
            ["bytes that are not a frame: connection 1: the client sent 'half a li' at its end.*"],
        ),
        (
            "peer",
            "conversation",
            [r"unfinished conversation \(expect 'a'; .*\): 2 of 4 steps done; next: expect 'b'"],
        ),
        ("peer", "just_before_the_end", [r"unexpected frame \(tcp #1\): LATE"]),
        ("peer", "datagram", [r"unexpected frame \(udp 127\.0\.0\.1:\d+\): hello"]),
        (
            "proxy",
            "never_struck",
            [
                "fault never struck: reset request=2",
                r"    selected 0 times; nearest: GET n\\n \(tcp #1\): request 2 never came: .*",
                r" +0\.\d+ tcp #1 +opened by 127\.0\.0\.1:\d+",
                r" +0\.\d+ tcp #1 +--> GET n\\n",
                WHERE["proxy"],
            ],
        ),
        (
            "proxy",
            "removed",
            [
                "fault never struck: close",
                "    selected 0 times; no reply came before it was removed",
                WHERE["proxy"],
            ],
        ),
        (
            "proxy",
            "not_reached",
            [
                r"upstream tcp://\S+ could not be reached: Connection refused \(once\)",
                r" +0\.\d+ tcp #1 +closed by the proxy \(RST\): the upstream could not be .*",
            ],
        ),
        (
            "proxy",
            "no_frame",
            [r"bytes that are not a frame: connection 1: the client sent 'GET n\\n' at its end.*"],
        ),
        ("proxy", "in_front_of_the_portal", ["unexpected call: nobody", r"\(portal at .*\)"]),
        (
            "proxy",
            "just_before_the_end",
            [r"    selected 0 times; nearest: LATE\\n .*", r" +0\.\d+ tcp #1 +--> LATE\\n"],
        ),
    ],
)
def test_at_teardown(report: Report, server: str, test: str, lines: list[str]) -> None:
    text = report(server, f"ERROR at teardown of test_{test}")
    for line in lines:
        assert re.search(f"(?m)^{line}$", text), (line, text)
    assert "Traceback" not in text


def test_one_of_two(report: Report) -> None:
    text = report("proxy", "ERROR at teardown of test_one_of_two")
    assert text.count("fault never struck") == 1
    assert len(re.findall(WHERE["proxy"], text)) == 1


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("peer", ["assert b'PONG\\n' == b'PING\\n'"]),
        ("proxy", ["assert b'GET n\\n' == b'GET m\\n'", "fault never struck: reset request=2"]),
    ],
)
def test_a_test_that_fails_itself(report: Report, server: str, shown: list[str]) -> None:
    text = report(server, "test_that_fails_itself")
    assert all(part in text for part in [*shown, "- esps-portal -"])
    assert re.search(WHERE[server], text)


@pytest.mark.parametrize(
    ("server", "test", "error"),
    [
        ("peer", "wrong_option", "unknown option greting; the options are greeting, udp, "),
        ("peer", "wrong_greeting", "greeting must be text, bytes, or several of them, got 3"),
        (
            "peer",
            "wrong_framing",
            "a framing is an object with the methods split and join, got 'lines'",
        ),
        ("peer", "taken_port", "; try another port, or port=0"),
        ("proxy", "wrong_upstream", "unknown scheme in 'redis://127.0.0.1': write tcp://HOST:PORT"),
        (
            "proxy",
            "wrong_option",
            "unknown option hots; the options are framing, reply_framing, host, port,",
        ),
        ("proxy", "taken_port", "; try another port, or port=0"),
    ],
)
def test_what_cannot_start(report: Report, server: str, test: str, error: str) -> None:
    """The test's own line is shown, and none of ours."""
    text = report(server, f"test_{test}")
    assert error in text
    assert "esps_portal/testing" not in text


def test_a_factory_that_is_used_after_its_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from esps_portal.testing import PortalEndedError, lines

        ended = pytest.raises(PortalEndedError, match="the test .* has ended: ask for it again")
        kept = []

        def test_keeps_them(esps_portal_factory, esps_proxy, esps_peer):
            kept.append(esps_portal_factory)
            kept.append(lambda: esps_proxy("tcp://127.0.0.1:9"))
            kept.append(lambda: esps_peer(lines()))

        def test_uses_them():
            for start in kept:
                with ended:
                    start()
        """
    )
    run_here(pytester).assert_outcomes(passed=2)
