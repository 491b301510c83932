"""Whatever faults are placed: a peer goes on, and once they are healed it answers again."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from esps_portal.testing import PlannedFault, lines, peer_in_thread, strategies
from esps_portal.testing.threaded_peer import ThreadedPeer

# Seconds: long enough that most faults strike, short enough for many examples.
_SOON = 0.02


@pytest.fixture(scope="module")
def peer() -> Iterator[ThreadedPeer]:
    with peer_in_thread(lines("\r\n"), greeting="220 ready", udp=True) as peer:
        yield peer


def ask(peer: ThreadedPeer, timeout: float = _SOON) -> bytes:
    """Return what comes in place of two replies, as far as it comes in time."""
    seen = b""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((peer.host, peer.port), 5) as client,
    ):
        client.settimeout(timeout)
        client.sendall(b"a\r\nb\r\n")
        client.shutdown(socket.SHUT_WR)
        while data := client.recv(64):
            seen += data
    return seen


def ask_by_datagram(peer: ThreadedPeer) -> None:
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(_SOON)
        client.sendto(b"a", (peer.host, peer.port))
        client.recv(65536)


@given(strategies.faults(requests=2, offsets=12))
@settings(deadline=None)
def test_a_peer_survives_any_faults(peer: ThreadedPeer, schedule: list[PlannedFault]) -> None:
    peer.reset()
    peer.stub("a").reply("1", "2")
    peer.stub("b").reply("3")
    with peer.faults(schedule):
        ask(peer)
        ask(peer)
        ask_by_datagram(peer)
        peer.problems()
    assert ask(peer, 20) == b"220 ready\r\n1\r\n2\r\n3\r\n"
    assert not any("failed" in text for text in peer.problems())
