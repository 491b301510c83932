"""A client whose messages have a length before them, against a peer of the same framing."""

from __future__ import annotations

import socket
import struct

import attrs
import pytest

from esps_portal.testing import PeerController, PeerFactory, length_prefixed
from tests.patience import PATIENCE


class BrokenError(Exception):
    """The connection has ended within a message."""


@attrs.define
class Client:
    """A client as a program has it: each message has four bytes of length before it."""

    sock: socket.socket

    def say(self, message: bytes) -> None:
        self.sock.sendall(struct.pack(">I", len(message)) + message)

    def hear(self) -> bytes:
        (size,) = struct.unpack(">I", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        seen = b""
        while len(seen) < size:
            data = self.sock.recv(size - len(seen))
            if not data:
                raise BrokenError(seen)
            seen += data
        return seen


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    return esps_peer(length_prefixed(4))


def connect(peer: PeerController) -> Client:
    return Client(socket.create_connection((peer.host, peer.port), PATIENCE))


def test_a_short_frame(peer: PeerController) -> None:
    peer.stub("one").raw(b"\0\0\0\x09half").then_close()
    client = connect(peer)
    with client.sock:
        client.say(b"one")
        with pytest.raises(BrokenError, match="half"):
            client.hear()


def test_two_frames_in_one_segment(peer: PeerController) -> None:
    peer.stub("two").reply("first", "second")
    client = connect(peer)
    with client.sock:
        client.say(b"two")
        assert [client.hear(), client.hear()] == [b"first", b"second"]


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_frame_cut_at_each_byte(peer: PeerController, cut: int) -> None:
    peer.stub("ping").reply("pong!")
    fault = peer.fault("slice", at=cut, pause=0.01)
    client = connect(peer)
    with client.sock:
        client.say(b"ping")
        assert client.hear() == b"pong!"
    assert fault.happened == 1


@pytest.mark.parametrize("cut", range(9))
def test_an_end_at_each_byte(peer: PeerController, cut: int) -> None:
    peer.stub("ping").reply("pong!")
    peer.fault("close", offset=cut)
    client = connect(peer)
    with client.sock:
        client.say(b"ping")
        with pytest.raises(BrokenError):
            client.hear()


def test_a_length_that_is_wrong(peer: PeerController) -> None:
    """What comes next is taken for the rest of the message."""
    peer.stub("ping").reply("pong")
    peer.fault("patch", at=3, hex="06", times=1)
    client = connect(peer)
    with client.sock:
        client.say(b"ping")
        client.say(b"ping")
        assert client.hear() == b"pong\0\0"
