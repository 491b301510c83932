from __future__ import annotations

import pytest

from esps_portal.conformance.lines import fault_of


@pytest.mark.parametrize(
    "line",
    [
        b"a OK",
        b'a.b_c-9 DATA "" x %20%22%23%25%7F%00%FF',
        b"a ERR x-mine words",
        b"* ESPS/1 x/1",
        b"* BYE idle",
        b"* ERR tag-in-use a",
        b"a OK !$&'()*+,-./:;<=>?@[\\]^_`{|}~",
    ],
)
def test_canonical(line: bytes) -> None:
    assert fault_of(line) == ""


@pytest.mark.parametrize(
    ("line", "requirement"),
    [
        (b"a OK\r", "ESPS-LINE-2"),
        (b"a OKAY", "ESPS-LINE-12"),
        (b"a ERR", "ESPS-LINE-12"),
        (b"a ERR Busy", "ESPS-LINE-12"),
        (b"* HELLO", "ESPS-LINE-12"),
        (b"a" * 33 + b" OK", "ESPS-LINE-12"),
        (b"", "ESPS-LINE-12"),
        (b"a OK ", "ESPS-LINE-8"),
        (b"a OK  x", "ESPS-LINE-8"),
        (b"a OK x ##", "ESPS-MSG-9"),
        (b"a OK x#", "ESPS-ARG-2"),
        (b"a OK \xc3\xbc", "ESPS-ARG-2"),
        (b"a OK \x1b", "ESPS-ARG-2"),
        (b'a OK x""', "ESPS-ARG-2"),
        (b"a OK %e2", "ESPS-ARG-4"),
        (b"a OK %41", "ESPS-ARG-3"),
        (b"a OK %21", "ESPS-ARG-3"),
    ],
)
def test_not_canonical(line: bytes, requirement: str) -> None:
    assert fault_of(line) == requirement
