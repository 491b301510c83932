"""Faults that strike a connection at an age, idle or not: as its client's socket sees them."""

from __future__ import annotations

import socket
from typing import Literal, get_args

import pytest

from esps_portal.testing import PortalController, open_memory_portal
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import closed, connected

pytestmark = pytest.mark.usefixtures("clock")  # it has to be there before the portal

Ending = Literal["close", "half-close", "stall", "deaf", "garbage"]


def test_an_idle_connection(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("reset", age=60)
    with connected(portal) as client:
        clock.jump(59)
        client.assert_silence()
        clock.jump(1)
        client.assert_reset()
    assert fault.happened == 1
    (connection,) = closed(portal)
    assert (connection.fault, connection.how) == ("reset age=60", "rst")


def test_a_busy_connection(clock: PortalClock, portal: PortalController) -> None:
    """What runs is not answered; what was answered has come."""
    portal.fault("close", age=60)
    with connected(portal) as client:
        client.send(b"a CALL stall\n")
        clock.jump(59)
        assert client.call(b"b PING") == b"b OK\n"
        clock.jump(1)
        assert client.rest() == b""


def test_each_connection_at_its_own_age(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as open_before:
        clock.jump(10)
        fault = portal.fault("reset", age=60)
        with connected(portal) as later:
            clock.jump(50)
            open_before.assert_reset()
            assert later.call(b"a PING") == b"a OK\n"
            clock.jump(10)
            later.assert_reset()
    assert fault.happened == 2


def test_one_that_is_old_enough_already(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        clock.jump(100)
        portal.fault("reset", age=60)
        client.assert_reset()


@pytest.mark.parametrize("times", [1, None])
def test_times(clock: PortalClock, portal: PortalController, times: int | None) -> None:
    portal.fault("reset", age=60, times=times)
    with connected(portal) as first, connected(portal) as second:
        clock.jump(60)
        first.assert_reset()
        if times is None:
            second.assert_reset()
        else:
            assert second.call(b"a PING") == b"a OK\n"
            clock.jump(60)
            assert second.call(b"b PING") == b"b OK\n"


def test_by_number_of_connection(clock: PortalClock, portal: PortalController) -> None:
    """They are counted as they are accepted, those too that end before."""
    portal.fault("reset", age=60, connection=3)
    with connected(portal):
        pass
    with connected(portal) as second, connected(portal) as third:
        clock.jump(60)
        third.assert_reset()
        assert second.call(b"a PING") == b"a OK\n"


@pytest.mark.parametrize("kind", get_args(Ending))
def test_what_ends(clock: PortalClock, portal: PortalController, kind: Ending) -> None:
    with connected(portal) as client:
        fault = portal.fault(kind, age=60)
        clock.jump(60)
        fault.wait_for(timeout=PATIENCE)
        client.send(b"a PING\n")
        if kind in ("stall", "deaf"):
            client.assert_silence()
        else:
            assert len(client.rest()) == (64 if kind == "garbage" else 0)


def test_several_ages(clock: PortalClock, portal: PortalController) -> None:
    """Each has its turn, on a connection that an earlier one has left."""
    deaf = portal.fault("deaf", age=10)
    reset = portal.fault("reset", age=20)
    with connected(portal) as client:
        clock.jump(10)
        deaf.wait_for(timeout=PATIENCE)
        client.send(b"a PING\n")
        client.assert_silence()
        clock.jump(10)
        client.assert_reset()
    assert (deaf.happened, reset.happened) == (1, 1)


def test_removed_in_time(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        with portal.fault("reset", age=60).optional():
            clock.jump(59)
        clock.jump(60)
        assert client.call(b"a PING") == b"a OK\n"


def test_what_has_ended_is_not_struck(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("reset", age=60).optional()
    portal.fault("close", match="PING")
    with connected(portal) as client:
        client.send(b"a PING\n")
        assert client.rest() == b""
        clock.jump(0.5)
    closed(portal)
    clock.jump(60)
    assert fault.happened == 0


def test_with_a_selector_of_requests_it_only_selects(
    clock: PortalClock, portal: PortalController
) -> None:
    portal.fault("reset", age=60, match="PING")
    portal.fault("latency", age=30, seconds=600, match="echo")
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
        assert client.call(b"b CALL echo") == b"b OK\n"
        clock.jump(30)
        client.send(b"c CALL echo\n")
        client.assert_silence()
        clock.jump(600)
        assert client.line() == b"c OK\n"
        client.send(b"d PING\n")
        client.assert_reset()


def test_a_whole_connection_from_an_age_on(clock: PortalClock, portal: PortalController) -> None:
    portal.fault("patch", unit="connection", age=60, at=0, hex="23")
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
        clock.jump(60)
        assert client.call(b"b PING") == b"# OK\n"
        assert client.call(b"c PING") == b"c OK\n"


def test_no_datagram_has_an_age(portal: PortalController) -> None:
    portal.fault("truncate", age=60, bytes=1).optional()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((portal.host, portal.port))
        sock.send(b"a PING\n")
        assert sock.recv(100) == b"a OK\n"


async def test_in_memory(autojump_clock: object) -> None:
    """Nothing but the age wakes anybody."""
    del autojump_clock
    async with open_memory_portal() as portal, portal.open_stream() as client:
        fault = portal.fault("close", age=300)
        assert (await client.receive_some()).startswith(b"* ESPS/1")
        assert await client.receive_some() == b""
        assert fault.happened == 1
