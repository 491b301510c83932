"""A portal that never reads its client again, as the client's socket sees it."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Literal

import pytest

from esps_portal import Limits
from esps_portal.testing import PortalController, serve_in_thread
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import Client, closed, connected

# Bytes; more than the buffers of a client and of a listener with a small one hold together.
_MORE_THAN_FITS = 64 * 1024 * 1024


def reset(client: Client) -> None:
    """Close with RST."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def fill(client: Client) -> int:
    """Send until nothing is taken any more for a while; return how many bytes were."""
    sent = 0
    client.socket.settimeout(0.3)
    try:
        while sent < _MORE_THAN_FITS:
            sent += client.socket.send(b"z PING\n" * 9000)
    except TimeoutError:
        return sent
    pytest.fail("it never blocked")


def test_the_reply_comes_and_nothing_after_it_is_read(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("deaf", service="echo")
        client.send(b"a PING\nb CALL echo x\nc CALL count\n")
        assert client.lines(2) == [b"a OK\n", b"b OK x\n"]
        client.send(b"d CALL count\n")
        client.assert_silence()
        reset(client)
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "rst")
    assert [call.service for call in portal.calls()] == ["echo"]
    (call,) = portal.calls()
    assert (call.state, call.fault, call.sent) == ("faulted", "deaf service=echo", b"b OK x\n")


def test_before_it_is_not_executed(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("deaf", service="count", when="before", times=1)
        client.send(b"a CALL count\nb CALL count\n")
        client.assert_silence()
    with connected(portal) as other:
        assert other.call(b"c CALL count") == b"c OK 1\n"


def test_a_client_blocks_after_some_megabytes(portal: PortalController) -> None:
    portal.fault("deaf", service="echo")
    with connected(portal) as client:
        assert client.call(b"a CALL echo") == b"a OK\n"
        assert fill(client) < 8 * 1024 * 1024


def test_one_that_was_connected_before_blocks_too(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("deaf", service="echo")
        assert client.call(b"a CALL echo") == b"a OK\n"
        assert fill(client) < 16 * 1024 * 1024


def test_what_runs_is_still_answered(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        deaf = portal.fault("deaf", service="echo")
        client.send(b"a CALL delay 600000\nb CALL drip 2 300000\nc CALL echo\n")
        assert client.line() == b"c OK\n"
        assert deaf.happened == 1
        clock.jump(600)
        assert sorted(client.lines(2)) == [b"a OK\n", b"b DATA 1\n"]
        clock.jump(300)
        clock.jump(300)
        assert client.lines(2) == [b"b DATA 2\n", b"b OK 2\n"]
        client.assert_silence()


def test_what_is_held_back_still_comes(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        held = portal.fault("coalesce", replies=9, seconds=100, match=b"PING")
        deaf = portal.fault("deaf", service="echo")
        client.send(b"a PING\nb CALL echo\n")
        held.wait_for(timeout=PATIENCE)
        deaf.wait_for(timeout=PATIENCE)
        assert client.line() == b"b OK\n"
        client.assert_silence()
        clock.jump(100)
        assert client.line() == b"a OK\n"


def test_a_call_that_runs_may_begin_it(portal: PortalController) -> None:
    """Its lines come on; the reader, who waits for the client, stops."""
    with connected(portal) as client:
        portal.fault("deaf", service="drip", reply_match=b"DATA 2")
        client.send(b"a CALL drip 3 0\n")
        assert client.lines(4) == [b"a DATA 1\n", b"a DATA 2\n", b"a DATA 3\n", b"a OK 3\n"]
        client.send(b"b PING\n")
        client.assert_silence()


def test_until_the_idle_limit(clock: PortalClock) -> None:
    with serve_in_thread(limits=Limits(idle=60)) as portal, connected(portal) as client:
        deaf = portal.fault("deaf")
        assert client.call(b"a PING") == b"a OK\n"
        deaf.wait_for(timeout=PATIENCE)
        client.send(b"b PING\n")
        clock.jump(59)
        client.assert_silence()
        clock.jump(1)
        client.assert_reset()
        (connection,) = closed(portal)
        assert (connection.closed_by, connection.how) == ("portal", "rst")


@pytest.mark.parametrize("end", ["shutdown", "reset", "down"])
def test_until_the_server_ends(end: Literal["shutdown", "reset", "down"]) -> None:
    with contextlib.ExitStack() as stack:
        with serve_in_thread(limits=Limits(drain=0.2)) as portal:
            client = stack.enter_context(connected(portal))
            portal.fault("deaf", service="echo")
            client.send(b"a CALL stall\nb CALL echo\n")
            assert client.line() == b"b OK\n"
            if end == "reset":
                portal.reset()
            elif end == "down":
                portal.down()
        with pytest.raises(ConnectionResetError):
            client.rest()


def test_a_fault_that_ends_it_still_strikes(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("deaf", service="echo")
        portal.fault("reset", service="drip")
        client.send(b"a CALL drip 1 100\nb CALL echo\n")
        assert client.line() == b"b OK\n"
        client.assert_reset()
