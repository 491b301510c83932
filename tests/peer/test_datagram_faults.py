"""Each fault of a datagram at a peer: what the plain socket of the client sees."""

from __future__ import annotations

import select
import socket
import time
from typing import Any

import attrs
import pytest

from esps_portal.faults.changed_bytes import corrupt
from esps_portal.testing import FaultError, datagrams
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.patience import PATIENCE
from tests.peer.conftest import Peers

REPLY = b"\x12\x34 a datagram"


@attrs.frozen
class Ends:
    """A peer and a client."""

    peer: ThreadedPeer
    client: socket.socket

    def ask(self, request: bytes = b"?") -> None:
        self.client.send(request)

    def nothing_comes(self) -> None:
        self.peer.problems()
        assert not select.select([self.client], [], [], 0)[0]

    def come(self, count: int) -> list[bytes]:
        """Return so many datagrams that come, and check that no more do."""
        found = [self.client.recv(65536) for _ in range(count)]
        self.nothing_comes()
        return found


@pytest.fixture
def ends(peers: Peers) -> Ends:
    peer = peers.start(datagrams())
    peer.stub("?").reply(REPLY)
    peer.handler(lambda frame, _: frame)
    return Ends(peer, peers.datagrams(peer))


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("drop", {}, []),
        ("duplicate", {"copies": 3}, [REPLY] * 3),
        ("truncate", {"bytes": 5}, [REPLY[:5]]),
        ("truncate", {"bytes": 0}, [b""]),
        ("corrupt", {"bytes": 3, "seed": 7}, [corrupt(REPLY, 3, 7)]),
        ("patch", {"at": 0, "hex": "56ff"}, [b"\x56\xff" + REPLY[2:]]),
        ("oversize", {"bytes": 20}, [REPLY + bytes(20 - len(REPLY))]),
    ],
)
def test_what_comes_in_place_of_a_datagram(
    ends: Ends, kind: str, options: dict[str, Any], seen: list[bytes]
) -> None:
    fault = ends.peer.fault(kind, times=1, **options)  # type: ignore[call-overload]
    ends.ask()
    assert ends.come(len(seen)) == seen
    assert fault.happened == 1
    ends.ask()
    assert ends.come(1) == [REPLY]


def test_delay(ends: Ends) -> None:
    ends.peer.fault("delay", seconds=0.1, times=1)
    begun = time.monotonic()
    ends.ask()
    ends.nothing_comes()
    ends.ask(b"not late")
    assert [ends.client.recv(100), ends.client.recv(100)] == [b"not late", REPLY]
    assert time.monotonic() - begun >= 0.1


def test_reorder(ends: Ends) -> None:
    ends.peer.fault("reorder", replies=2, seconds=30, times=1)
    for datagram in (b"1", b"2", b"3", b"4"):
        ends.ask(datagram)
    assert ends.come(4) == [b"2", b"3", b"1", b"4"]


def test_reorder_of_all_swaps_each_with_the_next(ends: Ends) -> None:
    fault = ends.peer.fault("reorder", seconds=30)
    for number in range(4):
        ends.ask(b"%d" % number)
    assert ends.come(4) == [b"1", b"0", b"3", b"2"]
    assert fault.happened == 2


def test_wrong_source(ends: Ends) -> None:
    ends.peer.fault("wrong-source", times=1)
    address = ends.peer.host, ends.peer.port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        for is_right in (False, True):
            client.sendto(b"?", address)
            datagram, source = client.recvfrom(100)
            assert datagram == REPLY
            assert (source == address) is is_right


@pytest.mark.parametrize(("kind", "options"), [("drop", {}), ("delay", {"seconds": 0.1})])
def test_before_a_datagram_is_answered(ends: Ends, kind: str, options: dict[str, Any]) -> None:
    once = ends.peer.stub("once").reply("1").optional()
    fault = ends.peer.fault(kind, when="before", match="once", **options)  # type: ignore[call-overload]
    ends.ask(b"once")
    ends.nothing_comes()
    assert once.used == 0
    assert fault.happened == 1
    if kind == "delay":
        assert ends.client.recv(100) == b"1"


def test_what_makes_no_sense(ends: Ends) -> None:
    with pytest.raises(FaultError, match="works over TCP only; this peer is served over UDP"):
        ends.peer.fault("reset")
    with pytest.raises(FaultError, match="to='server' is for a proxy"):
        ends.peer.fault("drop", to="server")


def test_refused_and_silent(ends: Ends) -> None:
    with ends.peer.down():
        ends.ask()
        with pytest.raises(ConnectionRefusedError):
            ends.client.recv(100)
    with ends.peer.down("silent"):
        ends.ask()
        ends.nothing_comes()
    ends.ask()
    assert ends.come(1) == [REPLY]


def test_many_clients_are_bounded(ends: Ends) -> None:
    """Each is forgotten once there are too many others, and can come back."""
    address = ends.peer.host, ends.peer.port
    ends.ask(b"first")
    assert ends.client.recv(100) == b"first"
    for _ in range(600):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.sendto(b"other", address)
            assert client.recv(100) == b"other"
    ends.ask(b"back")
    assert ends.client.recv(100) == b"back"
    numbers = [found.connection for found in ends.peer.exchanges()]
    assert numbers[0] == 1
    # Some of the others may have had the same port.
    assert numbers[-1] == max(numbers) > 512
