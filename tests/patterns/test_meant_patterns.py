"""The hint for text that was meant as a regular expression."""

from __future__ import annotations

import pytest

from esps_portal.patterns.meant_patterns import meant_as_pattern

HINT = "; as a regular expression it would match: write re.compile(...)"


@pytest.mark.parametrize(
    ("text", "data", "whole", "hint"),
    [
        (b"GET .*", b"GET /a", False, HINT),
        (b"^GET", b"GET /a", False, HINT),
        (b"^GET", b"GET /a", True, ""),
        (rb"id=\d+", b"id=12", True, HINT),
        (b"GET .*", b"PUT /a", False, ""),
        (b"a.c", b"abc", False, ""),  # so is much text that is meant as it is
        (b"x*", b"abc", False, ""),  # that matches anything
        (b"*1\r\n$4\r\nPING", b"PING", False, ""),
        (rb"(a)\1|b", b"b", False, ""),
    ],
)
def test_what_would_match(text: bytes, data: bytes, whole: bool, hint: str) -> None:
    assert meant_as_pattern(text, data, whole=whole) == hint
