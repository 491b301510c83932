"""Limits: their defaults, which values are allowed, and what HELLO announces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.limits import Limits

# limit = name "=" number; number = 1*DIGIT ["." 1*DIGIT]
LIMIT = re.compile(rb"[a-z-]+=[0-9]+(?:\.[0-9]+)?")


def test_what_hello_announces() -> None:
    assert Limits().announced() == (
        b"max-line=8192",
        b"max-in-flight=64",
        b"max-datagram=1200",
        b"idle=600",
        b"window=60",
    )


def test_the_values_in_force_are_announced() -> None:
    # ESPS-LIM-2
    limits = Limits(max_line=9000, max_in_flight=1, max_datagram=64, idle=0.25, window=90)
    assert limits.announced() == (
        b"max-line=9000",
        b"max-in-flight=1",
        b"max-datagram=64",
        b"idle=0.25",
        b"window=90",
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0"),
        (1e-05, b"0.00001"),
        (1234567.5, b"1234567.5"),
        (1e9, b"1000000000"),
        (100, b"100"),
        (1e-9, b"0.000001"),
        (5e-324, b"0.000001"),
        (0.1 + 0.2, b"0.3"),
    ],
)
def test_times_have_no_exponent(seconds: float, text: bytes) -> None:
    # ESPS-VERB-29
    assert Limits(idle=seconds).announced()[3] == b"idle=" + text


@given(st.floats(0, 1e12), st.floats(0, 1e12))
def test_announcements_keep_to_the_grammar(idle: float, window: float) -> None:
    announced = Limits(idle=idle, window=window).announced()
    assert all(LIMIT.fullmatch(limit) for limit in announced)
    assert (announced[3] == b"idle=0") is (idle == 0)
    assert float(announced[3].partition(b"=")[2]) == pytest.approx(idle, abs=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        {"max_line": 511},
        {"max_reply": 511},
        {"error_rate": 0},
        {"error_burst": 0},
        {"max_unterminated": 8192},
        {"max_in_flight": 0},
        {"max_connections": 0},
        {"max_calls": 63},
        {"max_connections_per_address": -1},
        {"max_buffered": 1_048_575},
        {"max_datagram": 63},
        {"amplification": 0},
        {"max_remembered": 0},
        {"idle": -1},
        {"stall": float("nan")},
        {"drain": float("inf")},
    ],
    ids=str,
)
def test_a_value_out_of_range_is_refused(values: dict[str, int]) -> None:
    # ESPS-LIM-3
    with pytest.raises(ValueError, match=next(iter(values))):
        Limits(**values)


def test_a_size_must_be_an_integer() -> None:
    with pytest.raises(TypeError):
        Limits(max_line=512.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("idle", ["5", None, True])
def test_a_time_must_be_a_number(idle: object) -> None:
    with pytest.raises(TypeError, match="idle must be a number of seconds, 0 or more"):
        Limits(idle=idle)  # type: ignore[arg-type]


def test_a_time_is_a_float_however_it_was_given() -> None:
    assert repr(Limits(idle=5)) == repr(Limits(idle=5.0))


def test_the_error_says_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"max_line must be at least 512, got 3$"):
        Limits(max_line=3)
    with pytest.raises(
        ValueError, match=r"max_datagram must be at least 64, at most 65507, got 3$"
    ):
        Limits(max_datagram=3)
    with pytest.raises(ValueError, match="max_line must be at least 512, at most 9223372036854"):
        Limits(max_line=2**63)


def test_values_at_the_bounds_are_allowed() -> None:
    assert Limits(max_in_flight=9, max_calls=9).max_calls == 9
    assert Limits(max_datagram=65507, max_reply=2**63 - 1).longest_reply == 8192
    least = Limits(
        max_line=512,
        max_reply=512,
        max_unterminated=513,
        max_in_flight=1,
        max_calls=1,
        max_connections=1,
        max_connections_per_address=0,
        max_buffered=1_048_576,
        max_datagram=64,
        amplification=1,
        max_remembered=1,
        error_rate=1,
        error_burst=1,
    )
    assert least.longest_reply == 512
