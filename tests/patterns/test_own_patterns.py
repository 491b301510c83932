"""Which compiled patterns of a test are searched in one pass, and which by `re`."""

from __future__ import annotations

import re
from typing import Any

import pytest

from esps_portal.patterns.linear import LinearPattern
from esps_portal.patterns.own_patterns import in_bounded_time


@pytest.mark.parametrize(
    ("pattern", "subject"),
    [
        (re.compile(rb"(a+)+$"), b"a" * 40 + b"b"),
        (re.compile(r"(a+)+$"), "a" * 40 + "b"),
        (re.compile(r"^(a|aa)+$"), "a" * 60 + "b"),
        (re.compile(r"^(a?){40}a{40}b"), "a" * 60),
        (re.compile(r"^(?:x(?:a*)y?)*$"), "x" * 30 + "z"),
        (re.compile(r"a*a*a*a*a*b"), "a" * 3000),
        (re.compile(r"(A+)+$", re.IGNORECASE), "a" * 40 + "b"),
    ],
)
def test_what_might_take_too_long_is_searched_in_one_pass(
    pattern: re.Pattern[Any], subject: str | bytes
) -> None:
    bounded = in_bounded_time(pattern)
    assert isinstance(bounded, LinearPattern)
    assert not bounded.search(subject)


@pytest.mark.parametrize(
    "pattern",
    [
        re.compile(rb"INCR"),
        re.compile(r"^(ehlo|mail|rset)"),
        re.compile(r"(?i)^get .*http/1\.[01]?$"),
        re.compile(r"(ab){3}[0-9]{4}"),
        re.compile(r"a.*b.*c"),
        re.compile(r"(a+)+\1$"),  # not in one pass
    ],
)
def test_all_others_are_searched_as_they_are(pattern: re.Pattern[Any]) -> None:
    assert in_bounded_time(pattern) is pattern
