"""A peer answers from a proxy's recording by whole units."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from esps_portal.testing import RecordingError, lines, proxy_in_thread, serve_in_thread
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.line_servers import counter, datagram_server, line_server
from tests.peer.conftest import Peers
from tests.sockets import connected, udp
from tests.threaded_proxies import DELIVERIES, FIN, RST, Side, pieces

BEGAN = {"event": "began", "time": "2026-01-01T00:00:00Z", "product": "x", "format": 1}


def unit(sender: str, data: bytes, exchange: int = 1, **more: object) -> dict[str, Any]:
    values = {"event": "unit", "at": 0.1, "transport": "tcp", "remote": ["127.0.0.1", 1]}
    text = {"data": data.decode("latin-1")}
    return values | {"connection": 1, "exchange": exchange, "from": sender} | text | more


def closed(by: str, how: str, connection: int = 1) -> dict[str, Any]:
    return {"event": "closed", "by": by, "how": how, "connection": connection, "transport": "tcp"}


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    return tmp_path / "recording.jsonl"


def write(recording: Path, *entries: dict[str, Any]) -> Path:
    recording.write_text("".join(json.dumps(entry) + "\n" for entry in (BEGAN, *entries)))
    return recording


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("has_framing", [False, True])
def test_what_a_proxy_has_recorded(
    peers: Peers, recording: Path, delivery: str, *, has_framing: bool
) -> None:
    requests = [b"INCR n\n", b"INCR n\n", b"INCR m\n", b"INCR n\n"]
    framing = lines() if has_framing else None
    with (
        line_server(counter()) as url,
        proxy_in_thread(url, framing=framing) as proxy,
        proxy.record(recording),
        connected(proxy, greeted=False) as client,
    ):
        replies = [client.call(request[:-1]) for request in requests]
    peer = peers.start(None, replay=recording)
    side = peers.dial(peer)
    for request, reply in zip(requests, replies, strict=True):
        for piece in pieces(request, delivery):
            side.send(piece)
        assert side.read(len(reply)) == reply
    # The last answer repeats, and on another connection too.
    side = peers.dial(peer)
    side.send(b"INCR n\n")
    assert side.read(len(replies[-1])) == replies[-1]
    peer.verify()


def test_datagrams(peers: Peers, recording: Path) -> None:
    with (
        datagram_server() as url,
        proxy_in_thread(url) as proxy,
        proxy.record(recording),
        udp(proxy) as client,
    ):
        replies = []
        for request in (b"INCR n\n", b"INCR m\n"):
            client.send(request)
            replies.append(client.recv(100))
    peer = peers.start(None, replay=recording)
    client = peers.datagrams(peer)
    for request, reply in zip((b"INCR m\n", b"INCR n\n"), reversed(replies), strict=True):
        client.send(request)
        assert client.recv(100) == reply


def test_a_greeting_and_ends_of_the_server(peers: Peers, recording: Path) -> None:
    write(
        recording,
        unit("server", b"220 ready\r\n", 0),
        unit("client", b"QUIT\r\n"),
        unit("server", b"221 bye\r\n"),
        closed("server", "fin"),
        unit("server", b"421 busy\r\n", 0, connection=2),
        closed("server", "rst", 2),
    )
    peer = peers.start(None, replay=recording)
    client = peers.dial(peer)
    client.send(b"QUIT\r\n")
    assert client.rest() == (b"220 ready\r\n221 bye\r\n", FIN)
    for _ in range(2):
        assert _dial(peers, peer).rest() == (b"421 busy\r\n", RST)
    peer.verify()


def _dial(peers: Peers, peer: ThreadedPeer) -> Side:
    """Connect to one that resets at once: on a busy machine before connect(2) has returned."""
    for _ in range(20):
        with contextlib.suppress(ConnectionResetError):
            return peers.dial(peer)
    raise AssertionError("every connect was reset")


def test_a_unit_that_begins_another_one_waits(peers: Peers, recording: Path) -> None:
    write(
        recording,
        unit("client", b"GET"),
        unit("server", b"short"),
        unit("client", b"GET all", 2),
        unit("server", b"long", 2),
    )
    client = peers.dial(peers.start(None, replay=recording))
    begun = time.monotonic()
    client.send(b"GET")
    assert client.read(5) == b"short"
    assert time.monotonic() - begun >= 0.05
    client.send(b"GET all")
    assert client.read(4) == b"long"
    client.send(b"GETGET all")
    assert client.read(9) == b"shortlong"


def test_parts_of_a_unit_and_several_sessions(peers: Peers, recording: Path) -> None:
    big = "x" * 70000
    write(
        recording,
        unit("client", b"BIG"),
        unit("server", big[:65536].encode(), continues=True),
        unit("server", big[65536:].encode()),
        BEGAN,
        unit("client", b"ONE"),
        unit("server", b"1"),
    )
    client = peers.dial(peers.start(None, replay=recording))
    client.send(b"BIG")
    assert client.read(70000) == big.encode()
    client.send(b"ONE")
    assert client.read(1) == b"1"


def test_a_request_that_never_had_a_reply_is_expected(peers: Peers, recording: Path) -> None:
    write(
        recording,
        unit("client", b"set a noreply\n"),
        unit("client", b"get a\n", 2),
        unit("server", b"1\n", 2),
        unit("client", b"get a\n", 3),
    )
    peer = peers.start(None, replay=recording)
    client = peers.dial(peer)
    client.send(b"set a noreply\nget a\nget a\n")
    assert client.read(4) == b"1\n1\n"
    peer.verify()


def test_what_was_never_said_is_unexpected(peers: Peers, recording: Path) -> None:
    write(recording, unit("client", b"GET a\n"), unit("server", b"1\n"))
    peer = peers.start(None, replay=recording)
    client = peers.dial(peer)
    client.send(b"GET b\n")
    assert client.rest() == (b"", FIN)
    (problem,) = peer.problems()
    assert problem.splitlines() == [
        "unexpected frame (tcp #1): GET b\\n",
        "    nearest stub: 'GET a\\n': byte 4 is 0x62 'b', not 0x61 'a'",
    ]


def test_a_test_may_answer_otherwise(peers: Peers, recording: Path) -> None:
    write(recording, unit("client", b"GET a\n"), unit("server", b"1\n"))
    peer = peers.start(None, replay=recording)
    peer.stub("GET a\n").raw(b"2\n").times(1)
    peer.fault("truncate", bytes=1, request=2)
    client = peers.dial(peer)
    client.send(b"GET a\nGET a\n")
    assert client.rest() == (b"2\n1", FIN)
    peer.reset()
    client = peers.dial(peer)
    client.send(b"GET a\n")
    assert client.read(2) == b"1\n"


def test_both_transports(peers: Peers, recording: Path) -> None:
    write(
        recording,
        unit("client", b"\0\1q"),
        unit("server", b"\0\1r"),
        unit("client", b"q", transport="udp"),
        unit("server", b"r", transport="udp"),
        unit("server", b"s", transport="udp"),
    )
    peer = peers.start(None, replay=recording)
    stream, datagram = peers.dial(peer), peers.datagrams(peer)
    datagram.send(b"q")
    assert [datagram.recv(9), datagram.recv(9)] == [b"r", b"s"]
    stream.send(b"\0\1q")
    assert stream.read(3) == b"\0\1r"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "holds no reply to replay"),
        ([unit("client", b"x")], "holds no reply to replay"),
        ([unit("client", b"x") | {"data": 1}], "line 2: data: must be text"),
        ([unit("client", b"x") | {"exchange": -1}], "line 2: exchange: must be an integer"),
    ],
)
def test_what_cannot_be_replayed(
    peers: Peers, recording: Path, entries: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(RecordingError, match=message):
        peers.start(None, replay=write(recording, *entries))


def test_a_recording_of_calls_is_for_a_portal(peers: Peers, recording: Path) -> None:
    with (
        serve_in_thread() as portal,
        portal.record(recording),
        socket.create_connection((portal.host, portal.port)) as client,
    ):
        client.sendall(b"1 PING\n")
        portal.problems()
    with pytest.raises(RecordingError, match="a recording of calls of ESPS/1 is for 'serve"):
        peers.start(None, replay=recording)


@pytest.mark.parametrize("text", ["", "{}\n", "no\nrecording\n"])
def test_what_is_no_recording(peers: Peers, recording: Path, text: str) -> None:
    recording.write_text(text)
    with pytest.raises(RecordingError, match="line 1: "):
        peers.start(None, replay=recording)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a peer needs a framing, a scenario or a replay: one of them, got none"),
        ({"replay": "a", "framing": lines()}, "one of them, got framing and replay"),
        ({"replay": "a", "greeting": "x"}, "greeting is for a peer with framing"),
        ({"framing": lines(), "name": "x"}, "name is for a peer with scenario"),
    ],
)
def test_options_that_do_not_go_together(
    peers: Peers, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        peers.start(options.pop("framing", None), **options)
