"""Each TCP fault, as the client's socket sees it."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from esps_portal import Limits
from esps_portal.portal.vocabulary import VOCABULARY
from esps_portal.testing import RunningPortal, serve_in_thread
from tests.sockets import GENEROUS, Client, assert_all_struck, closed, connected, timed

When = Literal["before", "after"]


@pytest.fixture(name="portal")
def _portal() -> Iterator[RunningPortal]:
    with serve_in_thread() as portal:
        yield portal
        assert_all_struck(portal)


def assert_reset(client: Client) -> None:
    with pytest.raises(ConnectionResetError) as caught:
        client.receive()
    assert caught.value.errno == errno.ECONNRESET


def test_the_vocabulary_is_proven() -> None:
    """A new word needs a test here or in test_faults_udp.py that sees what it means."""
    assert {kind for kind, word in VOCABULARY.items() if "tcp" in word.transports} == {
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
    }


# -- ends


@pytest.mark.parametrize("when", ["before", "after"])
def test_reset(portal: RunningPortal, when: When) -> None:
    with connected(portal) as client:
        portal.fault("reset", service="count", when=when)
        client.send(b"a CALL count\n")
        assert_reset(client)
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "rst")


@pytest.mark.parametrize("when", ["before", "after"])
def test_close(portal: RunningPortal, when: When) -> None:
    with connected(portal) as client:
        portal.fault("close", service="count", when=when)
        client.send(b"a CALL count\n")
        assert client.receive() == b""
        client.socket.shutdown(socket.SHUT_WR)
        assert client.receive() == b""
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "fin")


def test_close_waits_for_nobody_and_breaks_no_line(portal: RunningPortal) -> None:
    """What was answered before it has come, in whole; what comes after is not answered."""
    with connected(portal) as client:
        portal.fault("close", service="echo")
        client.send(b"a PING\nb CALL stall\nc CALL echo\nd PING\n")
        assert client.rest() == b"a OK\n"
    closed(portal)
    assert [call.state for call in portal.calls()] == ["aborted", "faulted"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_half_close(portal: RunningPortal, when: When) -> None:
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
def test_stall(portal: RunningPortal, when: When) -> None:
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


def test_accept_close(portal: RunningPortal) -> None:
    portal.fault("accept-close", times=1)
    with connected(portal, greeted=False) as client:
        assert client.receive() == b""
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
    assert portal.connections()[0].fault == "accept-close times=1"


def test_accept_close_is_no_reset(portal: RunningPortal) -> None:
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
def test_truncate(portal: RunningPortal, size: int, seen: bytes) -> None:
    with connected(portal) as client:
        portal.fault("truncate", service="echo", bytes=size)
        client.send(b"a CALL echo x\n")
        assert client.rest() == seen


def test_truncate_a_stream(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("truncate", service="drip", bytes=12)
        client.send(b"a CALL drip 3 0\n")
        assert client.rest() == b"a DATA 1\na D"


@pytest.mark.parametrize("when", ["before", "after"])
def test_garbage(portal: RunningPortal, when: When) -> None:
    """Random octets, the same ones for the same seed."""
    with connected(portal) as client:
        portal.fault("garbage", service="count", bytes=100, seed=5, when=when)
        client.send(b"a CALL count\n")
        assert client.rest() == random.Random(5).randbytes(100)


def test_no_terminator(portal: RunningPortal) -> None:
    """The last LF is missing, and never comes; the connection goes on."""
    with connected(portal) as client:
        portal.fault("no-terminator", service="echo", times=1)
        client.send(b"a CALL echo x\n")
        assert client.receive() == b"a OK x"
        client.assert_silence()
        assert client.call(b"b PING") == b"b OK\n"


def test_no_terminator_of_a_stream(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("no-terminator", service="drip")
        client.send(b"a CALL drip 2 0\n")
        assert client.lines(2) == [b"a DATA 1\n", b"a DATA 2\n"]
        assert client.receive() == b"a OK 2"


# -- time


@pytest.mark.parametrize("when", ["before", "after"])
def test_latency(portal: RunningPortal, when: When) -> None:
    with connected(portal) as client:
        portal.fault("latency", seconds=0.1, service="echo", when=when)
        with timed() as elapsed:
            assert client.call(b"a CALL echo x") == b"a OK x\n"
        assert 0.1 <= elapsed.seconds < (0.2 if when == "before" else 0.1) + GENEROUS
        assert client.call(b"b PING") == b"b OK\n"


def test_latency_before_comes_once(portal: RunningPortal) -> None:
    """Late before it is executed, the reply is not late once more."""
    with connected(portal) as client:
        portal.fault("latency", seconds=0.2, when="before")
        client.send(b"a CALL count\n")
        with timed() as elapsed:
            portal.wait_for("count")
            assert client.line() == b"a OK 1\n"
        assert elapsed.seconds >= 0.15
    (call,) = portal.calls()
    assert call.ended is not None
    assert 0.2 <= call.ended - call.received < 0.39


def test_latency_with_jitter(portal: RunningPortal) -> None:
    fault = portal.fault("latency", seconds=0.02, jitter=0.1, seed=3)
    with connected(portal) as client:
        for _ in range(3):
            chance = 0.02 + 0.1 * random.Random(3).random()
            with timed() as elapsed:
                client.call(b"a PING")
            assert elapsed.seconds >= 0.02
            if fault.happened == 1:
                assert elapsed.seconds >= chance


def test_latency_of_one_call_delays_no_other(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("latency", seconds=0.2, service="delay")
        client.send(b"a CALL delay 0\n")
        portal.wait_for("delay")
        assert client.call(b"b PING") == b"b OK\n"
        assert client.line() == b"a OK\n"


def test_who_waits_for_a_late_answer_is_not_idle() -> None:
    with (
        serve_in_thread(limits=Limits(idle=0.05)) as portal,
        portal.fault("latency", seconds=0.2),
        connected(portal) as client,
    ):
        client.send(b"a CALL echo x\n")
        assert client.rest() == b"a OK x\n* BYE idle\n"


def test_bandwidth(portal: RunningPortal) -> None:
    """So many octets are not there before their time, and come in pieces."""
    with connected(portal) as client:
        portal.fault("bandwidth", bytes_per_second=1000, service="echo")
        pieces: list[bytes] = []
        with timed() as elapsed:
            client.send(b"a CALL echo " + b"x" * 94 + b"\n")
            while not pieces or not pieces[-1].endswith(b"\n"):
                pieces.append(client.receive())
        assert b"".join(pieces) == b"a OK " + b"x" * 94 + b"\n"
        assert 0.1 <= elapsed.seconds < GENEROUS
        assert max(map(len, pieces)) < 100


@pytest.mark.parametrize(
    ("said", "pieces"),
    [
        ({}, [b"a OK", b" xyz\n"]),
        ({"at": 3}, [b"a O", b"K xyz\n"]),
        ({"at": "before-lf"}, [b"a OK xyz", b"\n"]),
        ({"at": 1000}, [b"a OK xyz\n"]),
    ],
)
def test_slice(portal: RunningPortal, said: dict[str, Any], pieces: list[bytes]) -> None:
    with connected(portal) as client:
        fault = portal.fault("slice", service="echo", pause=0.2, **said).optional()
        client.send(b"a CALL echo xyz\n")
        assert client.receive() == pieces[0]
        if len(pieces) > 1:
            with timed() as elapsed:
                assert client.receive() == pieces[1]
            assert 0.1 <= elapsed.seconds < GENEROUS
        assert fault.happened == (len(pieces) > 1)


def test_slice_each_line_of_a_stream(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("slice", service="drip", at=1, pause=0.1)
        client.send(b"a CALL drip 2 0\n")
        pieces: list[bytes] = []
        while b"OK 2\n" not in b"".join(pieces):
            pieces.append(client.receive())
        assert b"".join(pieces) == b"a DATA 1\na DATA 2\na OK 2\n"
        # The end of one line and the beginning of the next may come together.
        assert not [piece for piece in pieces if b"a DATA" in piece or b"a OK" in piece]


def test_coalesce_so_many_replies(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=3, seconds=PLENTY)
        client.send(b"a PING\n")
        client.send(b"b CALL delay 0\n")
        client.assert_silence()
        client.send(b"c PING\n")
        assert sorted(client.receive().splitlines()) == [b"a OK", b"b OK", b"c OK"]


def test_coalesce_for_so_long(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=99, seconds=0.1)
        with timed() as elapsed:
            client.send(b"a PING\nb PING\n")
            assert client.receive() == b"a OK\nb OK\n"
        assert 0.1 <= elapsed.seconds < GENEROUS
        client.send(b"c PING\n")
        assert client.receive() == b"c OK\n"


def test_coalesce_a_stream_counts_replies_not_lines(portal: RunningPortal) -> None:
    with connected(portal) as client:
        portal.fault("coalesce", replies=2, seconds=PLENTY)
        client.send(b"a CALL drip 2 0\n")
        client.assert_silence()
        client.send(b"b PING\n")
        assert client.receive() == b"a DATA 1\na DATA 2\na OK 2\nb OK\n"


PLENTY = 600  # seconds that are never waited for
