"""What a strict test fails for at teardown, and what its report shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.plugin.suite_runs import SUITES, place, run_here

Report = Callable[[str], str]


def reports(output: str) -> dict[str, str]:
    """Return the text below each of pytest's headings."""
    _, *parts = re.split(r"(?m)^(?:_{2,}|={2,}) (.+?) (?:_{2,}|={2,})$", output)
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def ran() -> dict[str, str]:
    return {}


@pytest.fixture
def report(pytester: pytest.Pytester, ran: dict[str, str]) -> Report:
    """Return the report of a test of the suite, which runs once."""
    if not ran:
        place(pytester, SUITES / "strict.py")
        result = run_here(pytester)
        result.assert_outcomes(passed=16, failed=2, errors=15, skipped=1, xfailed=1)
        ran.update(reports(result.stdout.str()))
    return ran.__getitem__


@pytest.mark.parametrize(
    ("test", "lines"),
    [
        (
            "unmatched",
            [
                "unexpected call: price 'sku-2'",
                "    nearest stub: price 'sku-1': argument 1 is 'sku-2', not 'sku-1'",
                r" +0\.\d+ tcp #1 +opened by 127\.0\.0\.1:\d+",
                r" +0\.\d+ tcp #1 +--> a CALL price sku-2",
                r" +0\.\d+ tcp #1 +<-- a ERR unmatched .*",
                r"\(portal at 127\.0\.0\.1 port \d+\)",
            ],
        ),
        (
            "without_a_name",
            ['unexpected call: ""', "    no stub or service has that name"],
        ),
        (
            "unknown",
            [
                "unexpected call: pirce 'sku-1'",
                r"    no stub or service has that name; did you mean price\?",
                r" +0\.\d+ tcp #1 +--> a CALL pirce sku-1",
                r" +0\.\d+ tcp #1 +<-- a ERR unknown-service .*",
            ],
        ),
        (
            "unused",
            ["unused stub: flaky: used 1 of 2 times", r" +0\.\d+ tcp #1 +<-- a ERR busy"],
        ),
        (
            "a_fault_of_a_mistyped_service",
            [
                "fault never struck: reset service=nosuchservice",
                "    selected 0 times; nearest: echo 'hi' .tcp #1.: service is 'echo', not .*",
                r" +0\.\d+ tcp #1 +--> a CALL echo hi",
            ],
        ),
        (
            "a_mistyped_fault_around_raises",
            [
                "fault never struck: close service=ehco",
                "    selected 0 times; no request came before it was removed",
            ],
        ),
        (
            "a_call_just_before_the_end",
            ["unexpected call: late", r" +0\.\d+ tcp #1 +--> a CALL late"],
        ),
        (
            "a_service_of_its_own_that_fails",
            [
                "service price failed:",
                "    Traceback .*",
                r"    AssertionError.*",
                r" +0\.\d+ tcp #1 +<-- a ERR failed .*",
            ],
        ),
        (
            "of_the_factory",
            [
                "unused stub: never: never used",
                r" +\(nothing has happened\)",
                r"\(portal at .*\)",
                "",
                "unused stub: nor-this: never used",
            ],
        ),
    ],
)
def test_a_test_that_passed_fails_at_teardown(report: Report, test: str, lines: list[str]) -> None:
    text = report(f"ERROR at teardown of test_{test}")
    for line in lines:
        assert re.search(f"(?m)^{line}$", text), line
    assert text.count("unused stub: never") <= 1  # of two portals one was lenient
    assert ("Traceback" in text) == (test == "a_service_of_its_own_that_fails")
    assert "- esps-portal -" not in text  # it is shown already


@pytest.mark.parametrize(
    ("heading", "lines"),
    [
        (
            "test_that_fails",
            [
                "E +assert 'nothing' in .*",
                "-+ esps-portal -+",
                "unexpected call: price 'sku-2'",
                "    nearest stub: price 'sku-1': argument 1 is 'sku-2', not 'sku-1'",
                "unused stub: price 'sku-1': never used",
                "fault by chance.* chance=0.5 seed=2011",
                r" +0\.\d+ tcp #1 +--> a CALL price sku-2",
            ],
        ),
        (
            "ERROR at setup of test_whose_setup_fails",
            ["E +LookupError: setup", "-+ esps-portal -+", r".* --> a CALL echo setup"],
        ),
        (
            "ERROR at teardown of test_whose_teardown_fails",
            ["E +LookupError: teardown", "-+ esps-portal -+", r".* --> a CALL echo teardown"],
        ),
    ],
)
def test_a_test_that_fails_anyway_has_a_section_and_fails_once(
    report: Report, ran: dict[str, str], heading: str, lines: list[str]
) -> None:
    text = report(heading)
    place = 0
    for line in lines:  # in this order
        found = re.compile(f"(?m)^{line}$").search(text, place)
        assert found, line
        place = found.end()
    test = heading.rsplit(maxsplit=1)[-1]
    assert [known for known in ran if known.endswith(test)] == [heading]


@pytest.mark.parametrize(
    "test",
    [
        "that_is_expected_to_fail",
        "that_is_skipped",
        "that_is_well[1]",
        "faults_that_need_not_strike",
        "a_fault_of_a_lenient_test",
    ],
)
def test_a_test_that_is_correct_or_was_skipped_does_not_fail(
    report: Report, ran: dict[str, str], test: str
) -> None:
    report("short test summary info")
    assert not [known for known in ran if known.endswith(f"test_{test}")]


def test_a_portal_that_dies_fails_its_test(report: Report) -> None:
    text = report("test_whose_portal_dies")
    assert "PortalEndedError: the portal has died: KeyboardInterrupt()" in text
    assert "direct cause" in text
    # Found at teardown only; and not a matter of strictness.
    for test in ("whose_portal_dies_unnoticed", "whose_own_portal_dies"):
        text = report(f"ERROR at teardown of test_{test}")
        assert text.startswith("\nthe portal has died: KeyboardInterrupt()\nTraceback")
        assert "tcp #1 " in text


@pytest.mark.parametrize(
    ("test", "shown"),
    [("with_an_unknown_keyword", "strickt=False"), ("with_an_argument", "'no'")],
)
def test_a_wrong_marker(report: Report, test: str, shown: str) -> None:
    assert report(f"ERROR at setup of test_of_a_marker_{test}").strip() == (
        "the marker esps_portal takes only strict=True or strict=False:"
        f" @pytest.mark.esps_portal({shown})"
    )
