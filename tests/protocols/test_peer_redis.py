"""redis-py against a scripted peer of RESP: what no healthy server would say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal.testing import Framing, PeerConnection, PeerController, PeerFactory
from tests.optional import package

redis = package("redis")


class Commands:
    """The framing of what clients send: an array of bulk strings (RESP, "Sending commands").

    A frame is the words of a command with a space between them; a reply is given as it is.
    """

    def split(self, buffer: bytes) -> tuple[list[bytes], bytes]:
        frames = []
        while (end := self._end(buffer)) is not None:
            frames.append(b" ".join(buffer[:end].split(b"\r\n")[2::2]))
            buffer = buffer[end:]
        return frames, buffer

    def join(self, frame: bytes) -> bytes:
        return frame + b"\r\n"

    def _end(self, buffer: bytes) -> int | None:
        head = re.match(rb"\*(\d+)\r\n", buffer)
        if head is None:
            return None
        place = head.end()
        for _ in range(int(head[1])):
            bulk = re.compile(rb"\$(\d+)\r\n").match(buffer, place)
            if bulk is None:
                return None
            place = bulk.end() + int(bulk[1]) + 2
        return place if place <= len(buffer) else None


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    framing: Framing = Commands()
    peer = esps_peer(framing)
    peer.stub(re.compile(b"^(CLIENT|HELLO)")).reply("+OK").optional()
    return peer


@pytest.fixture
def client(peer: PeerController) -> Iterator[Any]:
    """A client that tries again at once, and once."""
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 1)
    with redis.Redis(host=peer.host, port=peer.port, retry=retry, protocol=2) as made:
        yield made


def test_replies(peer: PeerController, client: Any) -> None:  # noqa: ANN401 - redis-py, typed or not
    peer.stub("PING").reply("+PONG")
    peer.stub("GET a").reply("$5\r\nhello")
    peer.stub("GET b").reply("$-1")
    peer.stub(re.compile(b"^INCR")).reply(":1").reply(":2")
    assert client.ping() is True
    assert (client.get("a"), client.get("b")) == (b"hello", None)
    assert [client.incr("n"), client.incr("m")] == [1, 2]


def test_an_error_and_then_none(
    peer: PeerController,
    client: Any,  # noqa: ANN401 - redis-py, typed or not
) -> None:
    """A server that still loads is asked again (BusyLoadingError is a ConnectionError)."""
    peer.stub("GET a").reply("-LOADING Redis is loading the dataset in memory").reply("$1\r\nx")
    assert client.get("a") == b"x"


def test_a_server_that_resets_while_it_answers(
    peer: PeerController,
    client: Any,  # noqa: ANN401 - redis-py, typed or not
) -> None:
    peer.stub("GET a").raw(b"$10\r\n0123").then_reset().reply("$10\r\n0123456789")
    assert client.get("a") == b"0123456789"
    assert len(peer.exchanges(b"GET")) == 2


def test_what_is_no_resp(peer: PeerController, client: Any) -> None:  # noqa: ANN401 - redis-py, typed or not
    peer.stub("GET a").raw(b"<html>\r\n")
    with pytest.raises(redis.exceptions.InvalidResponse):
        client.get("a")


def test_a_handler_keeps_the_state_of_a_connection(
    peer: PeerController,
    client: Any,  # noqa: ANN401 - redis-py, typed or not
) -> None:
    @peer.handler
    def transact(frame: bytes, connection: PeerConnection) -> str | None:
        queue = connection.state.setdefault("queue", [])
        if frame == b"MULTI":
            return "+OK"
        if frame == b"EXEC":
            return "\r\n".join([f"*{len(queue)}", *(f":{n}" for n in range(len(queue)))])
        queue.append(frame)
        return "+QUEUED"

    with client.pipeline() as pipe:
        pipe.incr("a").incr("b")
        assert pipe.execute() == [0, 1]
