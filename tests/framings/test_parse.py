"""The text that names a framing, and one clear error for each text that names none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.framings.framing import Framing
from esps_portal.framings.parse import parse_framing
from esps_portal.testing import (
    FramingError,
    datagrams,
    delimited,
    fixed,
    length_prefixed,
    lines,
    matching,
    until_close,
)
from tests.cases import cases

TEXTS: list[tuple[str, Framing]] = [
    ("lines:lf", lines()),
    ("lines:crlf", lines("\r\n")),
    ("lines:cr", lines("\r")),
    ("delimited:0d0a", delimited(b"\r\n")),
    ("length-prefixed:2", length_prefixed(2)),
    ("length-prefixed:2,at=4", length_prefixed(2, at=4)),
    ("length-prefixed:varint,at=1", length_prefixed("varint", at=1)),
    ("length-prefixed:4,at=1,extra=-4", length_prefixed(4, at=1, extra=-4)),
    ("length-prefixed:2,at=4,order=little,extra=1", length_prefixed(2, 4, 1, "little")),
    ("fixed:8", fixed(8)),
    ("datagrams", datagrams()),
    ("until-close", until_close()),
    (r"matching:END\r\n", matching(rb"END\r\n")),
    (r"matching:a,b:c=[:]", matching(rb"a,b:c=[:]")),
    ("matching:(?i)é", matching("(?i)é".encode())),
    ("matching:\udcff", matching(b"\xff")),
]


@pytest.mark.parametrize(("text", "framing"), TEXTS)
def test_text_and_back(text: str, framing: Framing) -> None:
    assert parse_framing(text) == framing
    assert str(framing) == text


@pytest.mark.parametrize(
    ("text", "framing"),
    [
        ("lines", lines()),
        ("delimited:0D0A", delimited(b"\r\n")),
        ("length-prefixed:2,extra=1,order=big,at=0", length_prefixed(2, extra=1)),
        ("fixed:08", fixed(8)),
    ],
)
def test_other_ways_to_write_it(text: str, framing: Framing) -> None:
    assert parse_framing(text) == framing


@given(
    st.builds(
        length_prefixed,
        st.integers(1, 8),
        st.integers(0, 99),
        st.integers(-99, 99),
        st.sampled_from(["big", "little"]),
    )
    | st.builds(length_prefixed, st.just("varint"), st.integers(0, 99), st.integers(-99, 99))
    | st.builds(delimited, st.binary(min_size=1))
    | st.builds(fixed, st.integers(1, 2**31 - 1))
    | st.builds(lambda text: matching(re.escape(text)), st.binary(min_size=1))
)
def test_every_framing_is_its_text(framing: Framing) -> None:
    assert parse_framing(str(framing)) == framing


@cases(
    ("text", "message"),
    [
        ("", "unknown framing ''; choose from lines, delimited, length-prefixed, fixed, "),
        ("line", "unknown framing 'line'; did you mean 'lines'?"),
        ("lines ", "unknown framing 'lines '; did you mean 'lines'?"),
        ("length_prefixed:2", "did you mean 'length-prefixed'?"),
        ("\x1b[2J", r"unknown framing '\x1b[2J'; choose from"),
        ("lines:", "lines: unknown end ''; choose from lf, crlf, cr"),
        ("lines:crfl", "lines: unknown end 'crfl'; did you mean 'crlf'?"),
        ("delimited", "delimited needs bytes in hex, such as delimited:0d0a"),
        ("delimited:", "delimited needs bytes in hex"),
        ("delimited:0d0", "delimited: '0d0' has an odd number of hex digits"),
        ("delimited:0x", "delimited: '0x' is not hex"),
        ("delimited:0d 0a", "delimited: '0d 0a' is not hex"),
        ("length-prefixed", "length-prefixed needs a size in bytes, such as length-prefixed:2"),
        ("length-prefixed:", "length-prefixed needs a size"),
        ("length-prefixed:,at=4", "length-prefixed needs a size"),
        ("length-prefixed:two", "length-prefixed: size must be an integer, got 'two'"),
        ("length-prefixed:varint,order=little", "a varint has its own"),
        ("length-prefixed:9", "size must be an integer from 1 to 8, got 9"),
        ("length-prefixed:2,att=4", "length-prefixed: unknown key 'att'; did you mean 'at'?"),
        ("length-prefixed:2,", "length-prefixed: unknown key ''; choose from at, order, extra"),
        ("length-prefixed:2,at", "length-prefixed: at needs a value, such as at=4"),
        ("length-prefixed:2,order=", "order needs a value, such as order=little"),
        ("length-prefixed:2,at=4,at=5", "length-prefixed: at is given twice"),
        ("length-prefixed:2,at=x", "length-prefixed: at must be an integer, got 'x'"),
        ("length-prefixed:2,at=-1", "at must be an integer from 0 to"),
        ("length-prefixed:2,extra=1.5", "extra must be an integer, got '1.5'"),
        ("length-prefixed:2,order=LITTLE", "order must be big or little, got 'LITTLE'"),
        ("fixed", "fixed needs a number of bytes, such as fixed:8"),
        ("fixed:", "fixed needs a number of bytes"),
        ("fixed:eight", "fixed: the size of a frame must be an integer, got 'eight'"),
        ("fixed:٣", "must be an integer, got"),
        ("fixed:" + "9" * 5000, "fixed: the size of a frame must be an integer, got '999"),
        ("fixed:0", "the size of a frame must be an integer from 1 to"),
        ("datagrams:8", "datagrams takes no value, got '8'"),
        ("until-close:", "until-close takes no value, got ''"),
        ("matching", "matching needs a regular expression, such as matching:END"),
        ("matching:", "matching needs a regular expression"),
        ("matching:(", "is not a regular expression: missing ), unterminated subpattern"),
        ("matching:a*", "may match no byte at all"),
        ("matching:\ud800", r"matching: '\ud800' cannot be written as UTF-8"),
    ],
)
def test_a_text_that_names_none(text: str, message: str) -> None:
    with pytest.raises(FramingError) as caught:
        parse_framing(text)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [None, 8, b"lines"])
def test_what_is_no_text(value: object) -> None:
    with pytest.raises(FramingError, match="named by text, such as 'lines:crlf', got "):
        parse_framing(value)  # type: ignore[arg-type]
