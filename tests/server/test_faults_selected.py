"""What a fault selects by content, by bytes and by the number of the reply: as sockets see it."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

from esps_portal.faults.fault import Fault
from esps_portal.faults.matching import Matchable
from esps_portal.faults.parameters import FaultError
from esps_portal.testing import FaultName, PortalController
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import (
    Client,
    ask,
    assert_no_datagram,
    closed,
    connected,
    udp,
)


def until_reset(client: Client) -> bytes:
    """Return all that comes before ECONNRESET."""
    found = b""
    try:
        while data := client.receive():
            found += data
    except ConnectionResetError:
        return found
    pytest.fail(f"FIN after {found!r}")


# -- match


@pytest.mark.parametrize(
    "match",
    [
        "sku-7",
        b"ku-7",
        re.compile(rb"^\w CALL echo sku-[67]$"),
        re.compile(r"sku-7$"),
        lambda line: line.endswith(b"7"),
    ],
)
def test_match(portal: PortalController, match: Matchable) -> None:
    """What the client sent: the line without its LF."""
    with connected(portal) as client, udp(portal) as datagrams:
        portal.fault("no-terminator", match=match)
        portal.fault("drop", match=match)
        assert client.call(b"a CALL echo sku-8") == b"a OK sku-8\n"
        assert client.call(b"b CALL count") == b"b OK 1\n"
        client.send(b"c CALL echo sku-7\n")
        assert client.receive() == b"c OK sku-7"
        datagrams.send(b"d CALL echo sku-7\n")
        assert ask(datagrams, b"e CALL echo sku-8\n") == b"e OK sku-8\n"


def test_match_and_number(portal: PortalController) -> None:
    """Numbers count what matches."""
    with connected(portal) as client:
        portal.fault("close", match="sku", request=2)
        assert client.call(b"a CALL echo sku") == b"a OK sku\n"
        assert client.call(b"b PING") == b"b OK\n"
        client.send(b"c CALL echo sku\n")
        assert client.rest() == b""


def test_match_before(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("reset", match="count", when="before")
        assert client.call(b"a PING") == b"a OK\n"
        client.send(b"b CALL count\n")
        assert until_reset(client) == b""
    assert [call.sent for call in portal.calls("count")] == [b""]


# -- reply_match


@pytest.mark.parametrize("match", ["DATA 2", b"DATA 2", re.compile(r"^a DATA 2\n$")])
def test_reply_match_of_a_line(portal: PortalController, match: Matchable) -> None:
    """Over TCP the fault begins with the line that matches."""
    with connected(portal) as client:
        portal.fault("reset", reply_match=match, offset=4)
        client.send(b"a CALL drip 3 0\n")
        assert until_reset(client) == b"a DATA 1\na DA"


def test_reply_match_of_a_datagram(portal: PortalController) -> None:
    """A whole one, of however many lines."""
    with udp(portal) as client:
        portal.fault("truncate", bytes=4, reply_match="DATA 2")
        assert ask(client, b"a CALL echo 2\n") == b"a OK 2\n"
        assert ask(client, b"b CALL drip 2 0\n") == b"b DA"


def test_reply_match_claims_nothing_until_it_matches(portal: PortalController) -> None:
    with connected(portal) as client:
        fault = portal.fault("close", reply_match="7", times=1)
        for number in range(7):
            assert client.call(b"a CALL echo %d" % number) == b"a OK %d\n" % number
        assert fault.happened == 0
        client.send(b"a CALL echo 7\n")
        assert client.rest() == b""


# -- offset


@pytest.mark.parametrize("offset", [0, 1, 4, 9])
def test_so_many_bytes_then_reset(portal: PortalController, offset: int) -> None:
    portal.fault("reset", service="echo", offset=offset)
    for _ in range(25):
        with connected(portal) as client:
            client.send(b"a CALL echo xyz\n")
            assert until_reset(client) == b"a OK xyz\n"[:offset]
    assert {c.how for c in closed(portal)} == {"rst"}


def test_many_bytes_then_reset(portal: PortalController) -> None:
    """More than a client's kernel holds: they come as it reads."""
    with connected(portal) as client:
        portal.fault("reset", service="drip", offset=150_000)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"a CALL drip 20000 0\n")
        found = until_reset(client)
    assert len(found) == 150_000
    assert found.startswith(b"a DATA 1\na DATA 2\n")


@pytest.mark.parametrize(("kind", "given"), [("close", {}), ("truncate", {"bytes": 2})])
def test_offset_counts_the_bytes_of_the_reply(
    portal: PortalController, kind: FaultName, given: dict[str, Any]
) -> None:
    with connected(portal) as client:
        portal.fault(kind, **{"service": "drip", "offset": 11, **given})
        client.send(b"a CALL drip 2 0\n")
        passed = 11 + given.get("bytes", 0)
        assert client.rest() == b"a DATA 1\na DATA 2\n"[:passed]


def test_a_place_is_counted_from_the_offset(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("patch", service="drip", offset=11, at=1, hex="2323")
        client.send(b"a CALL drip 2 0\n")
        assert client.lines(3) == [b"a DATA 1\n", b"a D##A 2\n", b"a OK 2\n"]


def test_a_shorter_reply_is_not_struck(portal: PortalController) -> None:
    """It gives its claim back, so that a longer one is."""
    with connected(portal) as client:
        fault = portal.fault("reset", offset=10, times=1)
        assert client.call(b"a CALL echo x") == b"a OK x\n"
        assert fault.happened == 0
        (problem,) = portal.problems()
        assert problem.endswith("the reply is 7 bytes long, shorter than offset 10")
        client.send(b"a CALL echo 1234567890\n")
        assert until_reset(client) == b"a OK 12345"


# -- reply


def test_by_number_of_reply(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("no-terminator", service="echo", reply=[1, 3])
        client.send(b"a CALL echo\nb PING\nc CALL echo\nd CALL echo\ne PING\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b"a OKb OK\nc OK\nd OKe OK\n"


@pytest.mark.parametrize(
    ("kind", "given", "seen"),
    [
        ("truncate", {"bytes": 3}, b"* E"),
        ("patch", {"at": 7, "hex": "39"}, b"* ESPS/9 "),
        ("no-terminator", {}, b"* ESPS/1 "),
    ],
)
def test_reply_0_is_the_greeting(
    portal: PortalController, kind: FaultName, given: dict[str, Any], seen: bytes
) -> None:
    portal.fault(kind, **{"reply": 0, "times": 1, **given})
    with connected(portal, greeted=False) as client:
        client.socket.shutdown(socket.SHUT_WR)
        greeting = client.rest()
        assert greeting.startswith(seen)
        assert greeting.endswith(b"\n") is (kind == "patch")
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
    assert [c.fault.partition(" ")[0] for c in portal.connections()] == [kind, ""]


def test_a_late_greeting(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("latency", seconds=600, reply=0)
    with connected(portal, greeted=False) as client:
        client.send(b"a PING\n")
        fault.wait_for(timeout=PATIENCE)
        clock.jump(599)
        client.assert_silence()
        clock.jump(1)
        assert client.line().startswith(b"* ESPS/1 ")
        assert client.line() == b"a OK\n"


def test_without_reply_0_the_greeting_is_spared(portal: PortalController) -> None:
    portal.fault("close")
    with connected(portal) as client:
        client.send(b"a PING\n")
        assert client.rest() == b""


def test_the_greeting_and_a_reply(portal: PortalController) -> None:
    portal.fault("no-terminator", reply=[0, 2])
    with connected(portal, greeted=False) as client:
        client.send(b"a PING\nb PING\nc PING\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest().endswith(b"a OK\nb OKc OK\n")


# -- the whole connection


def test_offset_from_the_start_of_a_connection(portal: PortalController) -> None:
    with connected(portal, greeted=False) as client:
        size = len(client.line())
    portal.fault("reset", unit="connection", offset=size + 8, connection=2)
    with connected(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
        assert client.call(b"b PING") == b"b OK\n"
    with connected(portal, greeted=False) as client:
        client.send(b"a PING\nb PING\nc PING\n")
        assert until_reset(client)[size:] == b"a OK\nb O"


def test_offset_from_placing_on_an_open_connection(portal: PortalController) -> None:
    with connected(portal) as client:
        client.call(b"a PING")
        client.send(b"r CALL drip 2 100\n")
        portal.fault("reset", unit="connection", offset=12)
        assert until_reset(client) == b"r DATA 1\nr D"


def test_whole_connections_are_limited_in_bytes_over_all_replies(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("truncate", unit="connection", bytes=13)
        client.send(b"a PING\nb PING\nc PING\n")
        assert client.rest() == b"a OK\nb OK\nc O"


def test_patch_a_whole_connection_once(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("patch", unit="connection", at=7, hex="2323")
        client.send(b"a PING\nb PING\nc PING\n")
        assert client.exactly(15) == b"a OK\nb ##\nc OK\n"


def test_slice_a_whole_connection(clock: PortalClock, portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("slice", unit="connection", every=7, pause=600)
        client.send(b"a PING\nb PING\nc PING\n")
        for piece in (b"a OK\nb ", b"OK\nc OK", b"\n"):
            assert client.exactly(len(piece)) == piece
            client.assert_silence()
            clock.jump(600)


def test_no_more_once_it_is_removed(portal: PortalController) -> None:
    with connected(portal) as client:
        with portal.fault("slice", unit="connection", every=1, pause=0) as fault:
            assert client.call(b"a PING") == b"a OK\n"
        assert fault.happened == 1
        with portal.fault("reset", unit="connection", offset=6).optional():
            assert client.call(b"b PING") == b"b OK\n"
        assert client.call(b"c PING") == b"c OK\n"


def test_the_last_line_is_a_part_of_the_connection(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.fault("patch", unit="connection", at=5, hex="23")
        client.send(b"a PING\nq QUIT\n")
        assert client.rest() == b"a OK\n# OK\n"


# -- what makes no sense


@pytest.mark.parametrize(
    ("kind", "given", "error"),
    [
        ("reset", {"to": "server"}, "to='server' is for a proxy: no server is behind this portal"),
        ("deaf", {"to": "client"}, "fault 'deaf' is about what the client sends: it has no to"),
        ("reset", {"to": "portal"}, "to must be 'client' or 'server', got 'portal'"),
        ("drop", {"offset": 3}, "offset is for connections, and fault 'drop' works over UDP only"),
        ("drop", {"age": 3}, "age is for connections: a portal has none over UDP"),
        (
            "corrupt",
            {"transport": "udp", "offset": 3},
            "offset is for connections, and transport is 'udp'",
        ),
        ("reset", {"offset": -1}, "offset must be a number of bytes, 0 or more, got -1"),
        ("reset", {"age": -1}, "age must be a number of seconds, 0 or more, got -1"),
        ("reset", {"age": True}, "age must be a number of seconds, 0 or more, got True"),
        ("reset", {"age": 3, "offset": 1}, "a fault at an age strikes at once: leave out offset"),
        ("reset", {"unit": "frame"}, "unit must be 'connection', got 'frame'"),
        (
            "reset",
            {"unit": "connection", "request": 1},
            "request selects replies: leave out either it or unit='connection'",
        ),
        (
            "no-terminator",
            {"unit": "connection"},
            "fault 'no-terminator' needs the end of a reply: leave out unit='connection'",
        ),
        (
            "slice",
            {"unit": "connection"},
            "leave out unit='connection', or give at=BYTE or every=BYTES",
        ),
        ("corrupt", {"unit": "connection"}, "leave out unit='connection', or give at=BYTE"),
        ("coalesce", {"unit": "connection"}, "needs the end of a reply"),
        ("reset", {"reply": -1}, "reply must be an integer of at least 0 or several, got -1"),
        (
            "reset",
            {"reply": [0, 1], "match": "x"},
            "reply 0 is what the server sends before any request: leave out either it or match",
        ),
        (
            "reset",
            {"when": "before", "reply": 1},
            "with when='before' there is no reply: leave out reply",
        ),
        (
            "reset",
            {"when": "before", "offset": 1},
            "with when='before' there is no reply: leave out offset",
        ),
        ("reset", {"match": ""}, "match must not be empty: leave it out to match anything"),
        ("reset", {"match": 3}, "match must be text, bytes, a compiled regular expression"),
        ("slice", {"at": 1, "every": 2}, "fault 'slice' takes either at or every, not both"),
        ("patch", {"at": 1, "hex": "123"}, "hex must be bytes in hexadecimal, two digits each"),
        ("patch", {"at": 1}, "fault 'patch' needs hex"),
        ("accept-close", {"match": "x"}, "strikes before any request: it has no match"),
    ],
)
def test_an_error(
    portal: PortalController, kind: FaultName, given: dict[str, Any], error: str
) -> None:
    with pytest.raises(FaultError) as caught:
        portal.fault(kind, **given)
    assert error in str(caught.value)


def test_what_counts_bytes_of_a_connection_spares_datagrams(portal: PortalController) -> None:
    with udp(portal) as client:
        portal.fault("truncate", bytes=1, offset=1).optional()
        assert ask(client, b"a PING\n") == b"a OK\n"
        assert_no_datagram(client)
    assert Fault.create("truncate", offset=1).transports == {"tcp"}
