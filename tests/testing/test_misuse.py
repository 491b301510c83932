"""A portal used wrongly, or in a way that one would not think of: each gets one clear answer."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from esps_portal import Limits
from esps_portal.testing import (
    ANY,
    NotCalledError,
    PortalController,
    open_memory_portal,
    open_portal,
    serve_in_thread,
)
from tests.sockets import PATIENCE, connected, timed


@pytest.fixture(name="portal")
def _portal() -> Iterator[PortalController]:
    with serve_in_thread() as portal:
        yield portal


# ---- outages -----------------------------------------------------------------------------------


def test_an_outage_within_an_outage(portal: PortalController) -> None:
    with portal.down() as outer:
        with portal.down():
            pass
        with pytest.raises(ConnectionRefusedError), connected(portal):
            pass
        assert repr(outer) == "<outage, in force>"
    with connected(portal):
        pass
    outer.up()
    assert repr(outer) == "<outage, over>"


def test_outages_that_overlap(portal: PortalController) -> None:
    first, second = portal.down(), portal.down()
    first.up()
    first.up()  # a second time it is nobody's end
    with pytest.raises(ConnectionRefusedError), connected(portal):
        pass
    second.up()
    with connected(portal):
        pass


def test_an_outage_ends_with_a_reset(portal: PortalController) -> None:
    old = portal.down()
    portal.reset()
    with portal.down():
        old.up()
        with pytest.raises(ConnectionRefusedError), connected(portal):
            pass


# ---- waiting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ({"count": 0}, ValueError, "count must be a positive integer, got 0"),
        ({"count": 1.5}, ValueError, "count must be a positive integer, got 1.5"),
        ({"count": True}, ValueError, "count must be a positive integer, got True"),
        ({"count": 10_001}, ValueError, "count must be at most 10000, the number of calls kept"),
        ({"timeout": -1}, ValueError, "timeout must be a number of seconds, 0 or more, got -1"),
        ({"timeout": float("nan")}, ValueError, "0 or more, got nan"),
        ({"timeout": None}, TypeError, "timeout must be a number of seconds, got None"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, got '1'"),
        ({"service": b"price"}, TypeError, "service must be a str, or None for any, got b'price'"),
    ],
)
async def test_what_cannot_be_waited_for(
    said: dict[str, Any], error: type[Exception], words: str
) -> None:
    with serve_in_thread() as portal, pytest.raises(error, match=words):
        await portal.wait_for_async(**said)


def test_what_a_signal_raises_is_no_time_out_of_ours(portal: PortalController) -> None:
    def alarm(*_: object) -> None:
        raise TimeoutError("the test takes too long")

    before = signal.signal(signal.SIGALRM, alarm)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with timed() as elapsed, pytest.raises(TimeoutError, match="the test takes too long") as it:
            portal.wait_for("price", timeout=PATIENCE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not isinstance(it.value, NotCalledError)
    assert elapsed.seconds < PATIENCE


# ---- names and values --------------------------------------------------------------------------


def test_a_name_is_a_str(portal: PortalController) -> None:
    wrong: Any = b"price"
    with pytest.raises(TypeError, match="service must be a str"):
        portal.calls(wrong)
    with pytest.raises(ValueError, match="b'price' is not a name: a-z, then"):
        portal.stub(wrong)
    with pytest.raises(ValueError, match="service must be a name"):
        portal.fault("reset", service="No such")
    with pytest.raises(ValueError, match="delay takes seconds, 0 or more, not '1'"):
        portal.stub("price").delay(wrong.decode().replace("price", "1"))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"hots": "::1"}, "unknown option hots; the options are host, port, limits, tcp, udp"),
        ({"host": ["::1"]}, r"host must be a name or an address, got \['::1'\]"),
        ({"port": "80"}, "port must be a number from 0 to 65535, got '80'"),
        ({"port": True}, "port must be a number from 0 to 65535, got True"),
        ({"limits": {"max_line": 512}}, "limits must be esps_portal.Limits, got {'max_line': 512}"),
        ({"udp": 0}, "udp must be True or False, got 0"),
    ],
)
async def test_an_option_is_what_it_is_called(said: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words), serve_in_thread(**said):
        pass
    with pytest.raises(TypeError, match=words):
        async with open_portal(**said):
            pass


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"max_line": "3"}, "max_line must be an integer, got '3'"),
        ({"max_line": True}, "max_line must be an integer, got True"),
        ({"max_line": 3}, "max_line must be at least 512, got 3"),
        ({"max_datagram": 65508}, "max_datagram must be at least 64, at most 65507, got 65508"),
        ({"idle": -1}, "idle must be a number of seconds, 0 or more, got -1"),
    ],
)
def test_a_limit_says_what_it_is(said: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Limits(**said)
    assert str(caught.value).startswith(words)


async def test_there_is_a_url_for_what_is_served() -> None:
    async with open_memory_portal() as portal:
        with pytest.raises(RuntimeError, match="this portal is not served over TCP"):
            _ = portal.url
    async with open_portal(udp=False) as served:
        assert served.url == f"esps://127.0.0.1:{served.port}"
        with pytest.raises(RuntimeError, match="this portal is not served over UDP"):
            _ = served.udp_url


# ---- what is told ------------------------------------------------------------------------------


def test_a_stub_behind_one_that_takes_its_calls(portal: PortalController) -> None:
    portal.stub("price", ANY).reply("1")
    portal.stub("price", "sku-1").reply("9.99")
    with connected(portal) as client:
        assert client.call(b"a CALL price sku-1") == b"a OK 1\n"
    (finding,) = portal.problems()
    assert finding.splitlines() == [
        "unused stub: price 'sku-1': never used",
        "    an earlier stub takes its calls: price ANY: used 1 of 1 times",
    ]


def test_octets_are_told_from_the_text_that_looks_like_them(portal: PortalController) -> None:
    portal.stub("x", b"\xff\x00").reply()
    portal.stub("x", r"\xff").reply()
    assert portal.problems() == [
        r"unused stub: x b'\xff\x00': never used",
        r"unused stub: x '\\xff': never used",
    ]


async def test_a_portal_in_one_line(portal: PortalController) -> None:
    where = f"<portal at 127.0.0.1 port {portal.port} (TCP and UDP)"
    assert repr(portal) == f"{where}>"
    portal.stub("price", "sku-1").reply("9.99")
    with portal.fault("reset", service="echo"), portal.down():
        assert repr(portal) == f"{where}; 1 stub: price 'sku-1'; 1 fault: reset service=echo; down>"
    for number in range(9):
        portal.stub(f"many{number}")
    shown = "price 'sku-1', many0, many1, many2, many3, ..."
    assert repr(portal) == f"{where}; 10 stubs: {shown}>"
    async with open_memory_portal() as memory:
        assert repr(memory) == "<portal in memory>"


async def test_a_repl_completes_what_a_test_may_use(portal: PortalController) -> None:
    names = dir(portal)
    assert {"calls", "fault", "host", "port", "stub", "url", "wait_for"} <= set(names)
    assert not {"release", "acquire", "place_permanent"} & set(names)
    assert not [name for name in names if name.startswith("_")]
    async with open_memory_portal() as memory:
        assert "open_stream" in dir(memory)


def test_what_stands_in_a_failed_assertion(portal: PortalController) -> None:
    with portal.fault("reset", service="echo") as fault:
        assert repr(fault) == "<fault reset service=echo, happened 0 times>"
    with connected(portal) as client:
        client.call(b"a CALL echo hi")
    (call,) = portal.calls()
    assert repr(call) == r"<replied over tcp: 'a CALL echo hi', answered 'a OK hi\n'>"


@pytest.mark.parametrize("kind", ["close", "half-close", "truncate", "garbage"])
def test_who_closed_is_known_when_the_client_sees_it(
    portal: PortalController, kind: Literal["close", "half-close", "truncate", "garbage"]
) -> None:
    portal.fault(kind)
    with connected(portal) as client:
        client.send(b"a PING\n")
        client.rest()
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.how, connection.closed) == ("portal", "fin", None)


def test_who_closed_behind_a_quit(portal: PortalController) -> None:
    with connected(portal) as client:
        client.send(b"a QUIT\n")
        assert client.rest() == b"a OK\n"
        (connection,) = portal.connections()
        assert (connection.closed_by, connection.how) == ("portal", "fin")
