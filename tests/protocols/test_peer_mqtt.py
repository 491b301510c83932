"""paho-mqtt against a peer: packets with a length of one to four bytes (MQTT 3.1.1, 2.2.3)."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from esps_portal.testing import (
    PeerConnection,
    PeerController,
    PeerFactory,
    expect,
    length_prefixed,
    raw,
    reset,
    wait,
)
from tests.optional import package
from tests.patience import PATIENCE

mqtt = package("paho.mqtt.client")
# The types of packets (section 2.2.1), each with the flags that it has.
CONNECT, PUBLISH, DISCONNECT = (re.compile(byte) for byte in (b"^\x10", b"^2", b"^\xe0"))
CONNACK = b"\x20\x02\x00\x00"
REFUSED = b"\x20\x02\x00\x05"
PUBACK = b"\x40\x02"


@attrs.define(eq=False)
class Client:
    """A client with its loop in a thread, and what it was notified of."""

    paho: Any
    connects: list[str] = attrs.field(factory=list)
    changed: threading.Condition = attrs.field(factory=threading.Condition)

    def connect(self, peer: PeerController) -> None:
        self.paho.on_connect = self._connected
        self.paho.reconnect_delay_set(0, 0)
        self.paho.connect(peer.host, peer.port)
        self.paho.loop_start()

    def _connected(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:  # noqa: ANN401 - paho's
        with self.changed:
            self.connects.append(str(reason))
            self.changed.notify_all()

    def wait_for_connects(self, count: int) -> list[str]:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.connects) >= count, PATIENCE)
        return self.connects


@pytest.fixture
def client() -> Iterator[Client]:
    paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="me")
    yield Client(paho)
    paho.disconnect()
    paho.loop_stop()
    if (left_open := paho.socket()) is not None:  # its loop has not closed it
        left_open.close()


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    peer = esps_peer(length_prefixed("varint", at=1))
    peer.stub(DISCONNECT).reply().optional()
    return peer


def test_it_is_refused_and_then_let_in(peer: PeerController, client: Client) -> None:
    peer.stub(CONNECT).reply(REFUSED).then_close().reply(CONNACK)
    client.connect(peer)
    assert client.wait_for_connects(2) == ["Not authorized", "Success"]


def test_a_reset_within_a_reply_and_then_one_in_two_pieces(
    peer: PeerController, client: Client
) -> None:
    peer.conversation(expect(CONNECT), raw(CONNACK[:1]), wait(0.05), raw(b"\x02\x00"), reset())
    peer.conversation(expect(CONNECT), raw(CONNACK[:3]), wait(0.05), raw(CONNACK[3:]))
    client.connect(peer)
    assert client.wait_for_connects(1) == ["Success"]
    assert [each.closed_by for each in peer.connections()] == ["peer", ""]


@pytest.mark.parametrize("size", [0, 200, 20_000])
def test_a_message_that_is_published_again(peer: PeerController, client: Client, size: int) -> None:
    """Its length takes one, two and three bytes; the id of its packet comes after the topic."""
    peer.stub(CONNECT).reply(CONNACK)
    lost = peer.fault("reset", match=PUBLISH, times=1)

    @peer.handler
    def acknowledge(frame: bytes, _: PeerConnection) -> bytes:
        topic = frame.index(b"\0\5topic")
        return PUBACK + frame[topic + 7 : topic + 9]

    client.connect(peer)
    client.wait_for_connects(1)
    message = client.paho.publish("topic", b"x" * size, qos=1)
    message.wait_for_publish(PATIENCE)
    assert message.is_published()
    assert lost.happened == 1
    # The second has the bit DUP (section 3.3.1.1), and the same id.
    first, second = (each.request for each in peer.exchanges(b"\0\5topic"))
    assert (first[:1], second[:1], first[1:]) == (b"2", b":", second[1:])
