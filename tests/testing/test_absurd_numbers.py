"""Numbers that nobody means: beyond every float, of thousands of digits, of other scripts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from esps_portal import Limits, blocking
from esps_portal.client.deadline import check_timeout
from esps_portal.given_numbers import MAX_INTEGER, read_integer, read_number, shown_value
from esps_portal.testing import (
    FaultError,
    FramingError,
    PortalController,
    StubError,
    fixed,
    lines,
    peer_in_thread,
    serve_in_thread,
    wait,
)
from tests.cases import cases

HUGE = 10**400  # no float holds it
UNPRINTABLE = 10**5000  # Python does not print it


def _name(value: object) -> str:
    return shown_value(value)[:20]


WRONG_TIMES = [HUGE, UNPRINTABLE, -HUGE, math.inf, math.nan, True, "1"]


@pytest.mark.parametrize("number", WRONG_TIMES, ids=_name)
def test_a_time_in_limits(number: Any) -> None:  # noqa: ANN401 - of any type
    with pytest.raises((TypeError, ValueError), match="idle must be a number of seconds") as caught:
        Limits(idle=number)
    assert "set_int_max" not in str(caught.value)


@pytest.mark.parametrize("number", [HUGE, UNPRINTABLE, MAX_INTEGER + 1, -UNPRINTABLE], ids=_name)
def test_an_integer_in_limits(number: int) -> None:
    with pytest.raises(ValueError, match="max_calls must be at least 1") as caught:
        Limits(max_calls=number)
    assert "set_int_max" not in str(caught.value)


def test_longest_times_of_a_portal() -> None:
    """What a float can hold is taken, and works."""
    longest = dict.fromkeys(("idle", "stall", "drain", "linger", "window"), 1e308)
    with (
        serve_in_thread(limits=Limits(**longest)) as portal,  # type: ignore[arg-type]
        blocking.connect(portal.url) as client,
        blocking.connect(portal.udp_url) as over_udp,
    ):
        assert client.call("echo", "a") == over_udp.call("echo", "a") == (b"a",)
        assert client.call("delay", "0") == over_udp.call("delay", "0") == ()


@pytest.mark.parametrize("port", [HUGE, UNPRINTABLE, 65536, -1], ids=_name)
def test_a_port(port: int) -> None:
    with (
        pytest.raises(ValueError, match="port must be a number from 0 to 65535, got"),
        serve_in_thread(port=port),
    ):
        pass


@pytest.mark.parametrize("timeout", [HUGE, UNPRINTABLE, 1e308, math.inf], ids=_name)
@pytest.mark.parametrize("url", ["url", "udp_url"])
def test_a_timeout_of_a_client_that_is_no_limit(
    portal: PortalController, url: str, timeout: float
) -> None:
    with blocking.connect(getattr(portal, url), timeout=timeout) as client:
        assert client.call("echo", "a", timeout=timeout) == (b"a",)
        assert client.call("echo", "b") == (b"b",)
        with client.stream("echo", "c", timeout=timeout) as rows:
            assert list(rows) == []


def test_a_timeout_below_every_float_is_over() -> None:
    assert check_timeout(-UNPRINTABLE) == -math.inf


def test_longest_wait(portal: PortalController) -> None:
    """A lock of a thread cannot wait as long as a float can say."""
    with blocking.connect(portal.url) as client:
        client.call("echo")
    assert portal.wait_for("echo", timeout=1e308)


@pytest.mark.parametrize("number", [HUGE, UNPRINTABLE], ids=_name)
@pytest.mark.parametrize(
    "use",
    [
        lambda portal, number: portal.wait_for("echo", timeout=number),
        lambda portal, number: portal.wait_for("echo", count=number),
        lambda portal, number: portal.stub("x").reply("a").delay(number),
        lambda portal, number: portal.stub("x").reply("a").times(number),
        lambda portal, number: portal.fault("latency", seconds=number),
        lambda portal, number: portal.fault("bandwidth", bytes_per_second=number),
        lambda portal, number: portal.fault("stall", age=number),
        lambda portal, number: portal.fault("close", request=number),
        lambda portal, number: portal.fault("close", offset=number),
        lambda portal, number: portal.fault("close", times=number),
        lambda portal, number: portal.fault("close", chance=0.5, seed=number),
        lambda portal, number: portal.fault("corrupt", bytes=1, at=number),
        lambda portal, number: portal.fault("garbage", bytes=1, seed=number),
        lambda portal, number: portal.fault("close").wait_for(timeout=number),
    ],
)
def test_numbers_of_a_test(
    portal: PortalController, use: Callable[[PortalController, int], object], number: int
) -> None:
    """None of them is taken: a report could not even print it."""
    with pytest.raises((ValueError, FaultError, StubError), match=r"must be .* got ") as caught:
        use(portal, number)
    assert "set_int_max" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_numbers_of_a_peer() -> None:
    with pytest.raises(StubError, match="wait must be seconds, 0 or more, got 1000"):
        wait(HUGE)
    with pytest.raises(FramingError, match=r"got a number of thousands of digits"):
        fixed(UNPRINTABLE)
    with peer_in_thread(lines()) as peer:
        with pytest.raises(StubError, match="echo ends at a number of thousands of digits"):
            peer.stub("x").reply("y", echo=(0, UNPRINTABLE))
        with pytest.raises(ValueError, match="timeout must be a number of seconds"):
            peer.wait_for(timeout=HUGE)


@cases(
    ("text", "integer", "number"),
    [
        ("0", 0, 0),
        ("-12", -12, -12),
        ("007", 7, 7),
        ("1.5", None, 1.5),
        ("-.5e-1", None, -0.05),
        ("1e400", None, math.inf),
        ("9" * 99, int("9" * 99), int("9" * 99)),
        *(
            (text, None, None)
            for text in ("", "1_0", "٣", "²", " 1", "1\n", "+1", "0x1", "1e", ".")
        ),
        *((text, None, None) for text in ("nan", "inf", "-inf", "9" * 5000, "1." + "0" * 5000)),
    ],
)
def test_numbers_as_text(text: str, integer: int | None, number: float | None) -> None:
    assert (read_integer(text), read_number(text)) == (integer, number)


def test_a_value_is_shown_in_one_hundred_characters() -> None:
    assert shown_value("x" * 1000) == "'" + "x" * 96 + "..."
    assert shown_value([UNPRINTABLE]) == "a number of thousands of digits"
