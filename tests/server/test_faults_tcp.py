"""Each TCP fault, as the client's socket sees it."""

from __future__ import annotations

import random
import socket
from typing import Any, Literal

import pytest

from esps_portal import Limits
from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.testing import PortalController, serve_in_thread
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import closed, connected

When = Literal["before", "after"]


def test_each_fault_type_has_a_test() -> None:
    """A new fault type needs a test here, or in a file beside, that sees what it means."""
    assert {kind for kind, fault_type in FAULT_TYPES.items() if "tcp" in fault_type.transports} == {
        "latency",
        "bandwidth",
        "slice",
        "coalesce",
        "close",
        "reset",
        "half-close",
        "stall",
        "truncate",
        "garbage",
        "no-terminator",
        "accept-close",
        "certificate",  # in test_faults_tls.py
        "deaf",
        "corrupt",
        "patch",
    }


# -- ends


@pytest.mark.parametrize("when", ["before", "after"])
def test_reset(portal: PortalController, when: When) -> None:
    with connected(portal) as client:
        portal.fault("reset", service="count", when=when)
        client.send(b"a CALL count\n")
        client.assert_reset()
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "rst")


@pytest.mark.parametrize("when", ["before", "after"])
def test_close(portal: PortalController, when: When) -> None:
    with connected(portal) as client:
        portal.fault("close", service="count", when=when)
        client.send(b"a CALL count\n")
        assert client.receive() == b""
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == b""
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "fin")


def test_close_waits_for_nobody_and_breaks_no_line(portal: PortalController) -> None:
    """What was answered before it has come, in whole; what comes after is not answered."""
    with connected(portal) as client:
        portal.fault("close", service="echo")
        client.send(b"a PING\nb CALL stall\nc CALL echo\nd PING\n")
        assert client.rest() == b"a OK\n"
    closed(portal)
    assert [call.state for call in portal.calls()] == ["aborted", "faulted"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_half_close(portal: PortalController, when: When) -> None:
    """FIN, and the client can go on sending: nothing breaks until it has finished."""
    with connected(portal) as client:
        portal.fault("half-close", service="echo", when=when)
        client.send(b"a CALL echo\n")
        assert client.receive() == b""
        for _ in range(64):
            client.send(b"b PING " + b"x" * 60_000 + b"\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == b""
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "fin")


@pytest.mark.parametrize("when", ["before", "after"])
def test_stall(portal: PortalController, when: When) -> None:
    """Nothing comes any more, to nothing; the connection stays until the client goes."""
    with connected(portal) as client:
        portal.fault("stall", service="echo", when=when, times=1)
        client.send(b"a CALL echo\nb PING\n")
        client.send(b"c CALL echo\n")
        client.assert_silence()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == b""  # and no word with it
    with connected(portal) as other:
        assert other.call(b"d CALL echo") == b"d OK\n"
    assert closed(portal)[0].closed_by == "client"


def test_accept_close(portal: PortalController) -> None:
    portal.fault("accept-close", times=1)
    with connected(portal, greeted=False) as client:
        assert client.receive() == b""
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
    assert portal.connections()[0].fault == "accept-close times=1"


def test_accept_close_is_no_reset(portal: PortalController) -> None:
    """Not even for a client that speaks first."""
    portal.fault("accept-close")
    with connected(portal, greeted=False) as client:
        client.send(b"a PING\n")
        assert client.receive() == b""
        client.send(b"b PING\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == b""
    assert portal.calls() == []


# -- octets


@pytest.mark.parametrize(("size", "seen"), [(0, b""), (1, b"a"), (5, b"a OK "), (100, b"a OK x\n")])
def test_truncate(portal: PortalController, size: int, seen: bytes) -> None:
    with connected(portal) as client:
        portal.fault("truncate", service="echo", bytes=size)
        client.send(b"a CALL echo x\n")
        assert client.rest() == seen


def test_truncate_a_stream(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("truncate", service="drip", bytes=12)
        client.send(b"a CALL drip 3 0\n")
        assert client.rest() == b"a DATA 1\na D"


@pytest.mark.parametrize("when", ["before", "after"])
def test_garbage(portal: PortalController, when: When) -> None:
    """Random octets, the same ones for the same seed."""
    with connected(portal) as client:
        portal.fault("garbage", service="count", bytes=100, seed=5, when=when)
        client.send(b"a CALL count\n")
        assert client.rest() == random.Random(5).randbytes(100)


def test_corrupt(portal: PortalController) -> None:
    """Some bytes of the line are others, where the seed says; its LF stays."""
    whole = b"a OK " + b"x" * 20 + b"\n"
    changed = set()
    for seed in (1, 2):
        with connected(portal) as client, portal.fault("corrupt", bytes=3, seed=seed):
            found = client.call(b"a CALL echo " + b"x" * 20)
            assert len(found) == len(whole)
            changed.add(tuple(n for n, byte in enumerate(found) if byte != whole[n]))
    assert len(changed) == 2
    assert all(len(places) == 3 for places in changed)


def test_corrupt_from_a_byte_on(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("corrupt", service="drip", at=7, bytes=3)
        client.send(b"a CALL drip 2 0\n")
        found = client.exactly(25)
        whole = b"a DATA 1\na DATA 2\na OK 2\n"
        assert [n for n, byte in enumerate(found) if byte != whole[n]] == [7, 8, 9]


def test_patch(portal: PortalController) -> None:
    """These bytes at that place, also across lines; the connection goes on."""
    with connected(portal) as client:
        portal.fault("patch", service="drip", at=7, hex="23 2323", times=1)
        client.send(b"a CALL drip 2 0\n")
        assert client.exactly(25) == b"a DATA ### DATA 2\na OK 2\n"
        assert client.call(b"b PING") == b"b OK\n"


def test_patch_beyond_the_reply_is_not_struck(portal: PortalController) -> None:
    with connected(portal) as client:
        fault = portal.fault("patch", at=5, hex="23").optional()
        assert client.call(b"a PING") == b"a OK\n"
        assert fault.happened == 0


def test_no_terminator(portal: PortalController) -> None:
    """The last LF is missing, and never comes; the connection goes on."""
    with connected(portal) as client:
        portal.fault("no-terminator", service="echo", times=1)
        client.send(b"a CALL echo x\n")
        assert client.receive() == b"a OK x"
        client.assert_silence()
        assert client.call(b"b PING") == b"b OK\n"


def test_no_terminator_of_a_stream(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("no-terminator", service="drip")
        client.send(b"a CALL drip 2 0\n")
        assert client.lines(2) == [b"a DATA 1\n", b"a DATA 2\n"]
        assert client.receive() == b"a OK 2"


# -- time


@pytest.mark.parametrize("when", ["before", "after"])
def test_latency(clock: PortalClock, portal: PortalController, when: When) -> None:
    """It comes once: late before it is executed, the reply is not late once more."""
    fault = portal.fault("latency", seconds=600, service="count", when=when)
    with connected(portal) as client:
        client.send(b"a CALL count\n")
        fault.wait_for(timeout=PATIENCE)
        clock.jump(599)
        client.assert_silence()
        clock.jump(1)
        assert client.line() == b"a OK 1\n"
        assert client.call(b"b PING") == b"b OK\n"
    (call,) = portal.calls()
    assert call.ended is not None
    assert call.ended - call.received == pytest.approx(600)


def test_latency_with_jitter(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("latency", seconds=20, jitter=100, seed=3)
    chance = random.Random(3)
    with connected(portal) as client:
        for number in range(3):
            client.send(b"a PING\n")
            fault.wait_for(number + 1, PATIENCE)
            clock.jump(20 + 100 * chance.random() - 0.001)
            client.assert_silence()
            clock.jump(0.002)
            assert client.line() == b"a OK\n"


def test_latency_of_one_call_delays_no_other(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("latency", seconds=600, service="delay")
    with connected(portal) as client:
        client.send(b"a CALL delay 0\n")
        fault.wait_for(timeout=PATIENCE)
        assert client.call(b"b PING") == b"b OK\n"
        clock.jump(600)
        assert client.line() == b"a OK\n"


def test_who_waits_for_a_late_answer_is_not_idle(clock: PortalClock) -> None:
    with (
        serve_in_thread(limits=Limits(idle=60)) as portal,
        portal.fault("latency", seconds=600) as fault,
        connected(portal) as client,
    ):
        client.send(b"a CALL echo x\n")
        fault.wait_for(timeout=PATIENCE)
        clock.jump(599)
        client.assert_silence()
        clock.jump(1)
        assert client.line() == b"a OK x\n"
        clock.jump(60)
        assert client.rest() == b"* BYE idle\n"


def test_bandwidth(clock: PortalClock, portal: PortalController) -> None:
    """So many bytes are not there before their time, and come in pieces."""
    whole = b"a OK " + b"x" * 94 + b"\n"
    with connected(portal) as client:
        fault = portal.fault("bandwidth", bytes_per_second=10, service="echo")
        client.send(b"a CALL echo " + b"x" * 94 + b"\n")
        fault.wait_for(timeout=PATIENCE)
        came = b""
        for _ in range(10):  # seconds
            for _ in range(10):
                clock.jump(0.1)
            clock.jump(0)  # once all of that second has been sent
            came += client.receive()
            assert came == whole[: len(came)]
        assert came == whole
        assert client.call(b"b PING") == b"b OK\n"
    (call,) = portal.calls()
    assert call.ended is not None
    assert call.ended - call.received == pytest.approx(10)


@pytest.mark.parametrize(
    ("said", "pieces"),
    [
        ({}, [b"a OK", b" xyz\n"]),
        ({"at": 3}, [b"a O", b"K xyz\n"]),
        ({"at": "before-lf"}, [b"a OK xyz", b"\n"]),
        ({"at": 1000}, [b"a OK xyz\n"]),
    ],
)
def test_slice(
    clock: PortalClock, portal: PortalController, said: dict[str, Any], pieces: list[bytes]
) -> None:
    with connected(portal) as client:
        fault = portal.fault("slice", service="echo", pause=600, **said).optional()
        client.send(b"a CALL echo xyz\n")
        assert client.receive() == pieces[0]
        for piece in pieces[1:]:
            clock.jump(599)
            client.assert_silence()
            clock.jump(1)
            assert client.receive() == piece
        assert fault.happened == (len(pieces) > 1)


def test_slice_every_so_many_bytes(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("slice", service="echo", every=3, pause=600)
        client.send(b"a CALL echo xyz\n")
        for piece in (b"a O", b"K x", b"yz\n"):
            assert client.receive() == piece
            client.assert_silence()
            clock.jump(600)


def test_slice_each_line_of_a_stream(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("slice", service="drip", at=1, pause=600)
        client.send(b"a CALL drip 2 0\n")
        assert client.receive() == b"a"
        # The end of one line and the beginning of the next may come together.
        for rest in (b" DATA 1\na", b" DATA 2\na", b" OK 2\n"):
            clock.jump(600)
            assert client.exactly(len(rest)) == rest
            client.assert_silence()


def test_coalesce_so_many_replies(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=3, seconds=PLENTY)
        client.send(b"a PING\n")
        client.send(b"b CALL delay 0\n")
        client.assert_silence()
        client.send(b"c PING\n")
        assert sorted(client.receive().splitlines()) == [b"a OK", b"b OK", b"c OK"]


def test_coalesce_for_so_long(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        fault = portal.fault("coalesce", replies=99, seconds=100)
        client.send(b"a PING\nb PING\n")
        fault.wait_for(2, PATIENCE)
        clock.jump(99)
        client.assert_silence()
        clock.jump(1)
        assert client.receive() == b"a OK\nb OK\n"
        client.send(b"c PING\n")
        fault.wait_for(3, PATIENCE)
        clock.jump(100)
        assert client.receive() == b"c OK\n"


@pytest.mark.parametrize("replies", [2, 99])
def test_nothing_comes_within_a_line_whose_rest_is_held(
    clock: PortalClock, portal: PortalController, replies: int
) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=replies, seconds=100, offset=3, match=b"a PING")
        client.send(b"a PING\n")
        assert client.exactly(3) == b"a O"
        client.send(b"b PING\nc CALL delay 0\n")
        client.assert_silence()
        clock.jump(100)
        assert client.exactly(2) == b"K\n"
        assert sorted(client.exactly(10).splitlines()) == [b"b OK", b"c OK"]


def test_coalesce_a_stream_counts_replies_not_lines(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=2, seconds=PLENTY)
        client.send(b"a CALL drip 2 0\n")
        client.assert_silence()
        client.send(b"b PING\n")
        # The call may have had no turn before the PING came.
        held = (b"a DATA 1\na DATA 2\na OK 2\n", b"b OK\n")
        assert client.receive() in (b"".join(held), b"".join(reversed(held)))


PLENTY = 600  # seconds that are never waited for
