"""Each fault of a stream on the frames of a peer: what the plain socket of the client sees.

Requests come whole, byte by byte and in random pieces: a fault strikes at the same byte.
"""

from __future__ import annotations

import random
import socket
import time
from typing import Any, Literal

import attrs
import pytest

from esps_portal.faults import target_counts
from esps_portal.net import watched_stream
from esps_portal.testing import FaultError, fixed, length_prefixed, lines
from esps_portal.testing.handles import PlacedFault
from esps_portal.testing.threaded_peer import ThreadedPeer
from tests.patience import PATIENCE, until
from tests.peer.conftest import Peers
from tests.sockets import closed, open_connections
from tests.threaded_proxies import DELIVERIES, FIN, RST, Side, pieces

REQUEST, REPLY = b"GET key\r\n", b"VALUE 0123456789\r\n"
anywhere = pytest.mark.parametrize("offset", [0, 7, len(REPLY)])


@attrs.frozen
class Asked:
    """A peer with stubs, and a client whose request may be struck."""

    peer: ThreadedPeer
    client: Side
    delivery: str

    def fault(self, kind: str, **options: Any) -> PlacedFault:  # noqa: ANN401 - checked by the fault
        return self.peer.fault(kind, **options)  # type: ignore[call-overload,no-any-return]

    def ask(self, request: bytes = REQUEST) -> None:
        for piece in pieces(request, self.delivery):
            self.client.send(piece)

    def quiet(self) -> None:
        """Return once the peer has dealt with all that has come."""
        self.peer.problems()

    def goes_on(self) -> None:
        self.ask(b"PING\r\n")
        assert self.client.read(6) == b"PONG\r\n"


@pytest.fixture(params=DELIVERIES)
def asked(request: pytest.FixtureRequest, peers: Peers) -> Asked:
    peer = peers.start(lines("\r\n"))
    peer.stub("GET key").reply(REPLY[:-2]).optional()
    peer.stub("PING").reply("PONG").optional()
    return Asked(peer, peers.dial(peer), request.param)


# ---- ends --------------------------------------------------------------------------------------


@anywhere
@pytest.mark.parametrize(("kind", "how"), [("close", FIN), ("reset", RST)])
def test_an_end(asked: Asked, kind: str, how: str, offset: int) -> None:
    fault = asked.fault(kind, offset=offset)
    asked.ask()
    assert asked.client.rest() == (REPLY[:offset], how)
    assert fault.happened == 1
    asked.client.close()
    (connection,) = closed(asked.peer)
    assert (connection.closed_by, connection.how) == ("peer", how.lower())


@anywhere
def test_half_close(asked: Asked, offset: int) -> None:
    asked.fault("half-close", offset=offset, times=1)
    asked.ask()
    assert asked.client.rest() == (REPLY[:offset], FIN)
    # What the client sends still passes; nothing comes back.
    asked.ask(b"PING\r\n")
    asked.peer.wait_for("PING", timeout=PATIENCE)
    assert asked.client.rest() == (b"", FIN)


@anywhere
def test_stall(asked: Asked, offset: int) -> None:
    asked.fault("stall", offset=offset, times=1)
    asked.ask()
    assert asked.client.read(offset) == REPLY[:offset]
    asked.ask(b"PING\r\n")
    asked.peer.wait_for("PING", timeout=PATIENCE)
    asked.quiet()
    assert asked.client.has_nothing()
    asked.client.sock.shutdown(1)
    asked.quiet()
    assert asked.client.has_nothing()
    asked.client.reset()
    assert closed(asked.peer)[0].closed_by == "client"


def test_a_stalled_client_does_not_see_the_end_of_an_answer(asked: Asked) -> None:
    asked.peer.stub("QUIT").reply("bye").then_close()
    asked.fault("stall", match="QUIT")
    asked.ask(b"QUIT\r\n")
    asked.peer.wait_for("QUIT", timeout=PATIENCE)
    asked.quiet()
    assert asked.client.has_nothing()
    asked.client.reset()
    assert closed(asked.peer)[0].closed_by == "client"


def test_a_stalled_client_that_has_closed_its_socket_is_noticed(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel forgets it a minute after its FIN, here a second, and then says so if asked."""
    monkeypatch.setattr(watched_stream, "KEEPALIVE", 1)
    peer = peers.start(lines(), greeting="hello")
    fault = peer.fault("stall", reply=0)
    client = peers.dial(peer)
    client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    fault.wait_for(timeout=PATIENCE)
    client.close()
    until(lambda: not open_connections(peer.port))


def test_the_end_of_a_stalled_client_is_recorded(asked: Asked) -> None:
    """A test waits for it: that its client gives up and closes the connection."""
    asked.fault("stall")
    asked.ask()
    asked.peer.wait_for("GET key", timeout=PATIENCE)
    asked.client.sock.shutdown(socket.SHUT_WR)
    (connection,) = asked.peer.wait_for_connections(closed=True, timeout=PATIENCE)
    assert (connection.closed_by, connection.how) == ("client", "fin")
    assert asked.client.has_nothing()
    asked.client.reset()
    until(lambda: not open_connections(asked.peer.port))
    assert asked.peer.transcript().count("closed by") == 1


def test_deaf(asked: Asked) -> None:
    fault = asked.fault("deaf")
    asked.ask()
    assert asked.client.read(len(REPLY)) == REPLY
    asked.ask(b"PING\r\n")
    asked.quiet()
    assert asked.client.has_nothing()
    assert asked.client.fill() < 16 << 20
    asked.client.reset()
    assert closed(asked.peer)[0].closed_by == "client"
    assert fault.happened == 1


@pytest.mark.parametrize(("when", "answered"), [("before", b"a\n"), ("after", b"a\nb\n")])
def test_what_was_read_with_the_frame_that_makes_it_deaf_is_not_answered(
    peers: Peers, when: Literal["before", "after"], answered: bytes
) -> None:
    peer = peers.start(lines())
    peer.handler(lambda frame, _: frame)
    peer.fault("deaf", match=b"b", when=when)
    client = peers.dial(peer)
    client.send(b"a\nb\nc\n")
    assert client.read(len(answered)) == answered
    peer.wait_for("c", timeout=PATIENCE)  # it has come
    client.sock.shutdown(1)
    assert client.rest() == (b"", FIN)
    peer.verify()


def test_deafness_ends_with_fin(asked: Asked) -> None:
    asked.fault("deaf")
    asked.ask()
    assert asked.client.read(len(REPLY)) == REPLY
    asked.client.send(b"never read")
    asked.client.sock.shutdown(1)
    assert asked.client.rest() == (b"", FIN)
    assert closed(asked.peer)[0].closed_by == "client"


@anywhere
def test_garbage(asked: Asked, offset: int) -> None:
    asked.fault("garbage", bytes=9, seed=4, offset=offset)
    asked.ask()
    assert asked.client.rest() == (REPLY[:offset] + random.Random(4).randbytes(9), FIN)


@pytest.mark.parametrize("size", [1, 7, len(REPLY)])
def test_truncate(asked: Asked, size: int) -> None:
    asked.fault("truncate", bytes=size)
    asked.ask()
    assert asked.client.rest() == (REPLY[:size], FIN)


def test_accept_close(peers: Peers) -> None:
    peer = peers.start(lines(), greeting="hello")
    fault = peer.fault("accept-close", connection=1)
    assert peers.dial(peer).rest() == (b"", FIN)
    assert peers.dial(peer).read(6) == b"hello\n"
    assert fault.happened == 1


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("close", {}, (b"", FIN)),
        ("reset", {}, (b"", RST)),
        ("half-close", {}, (b"", FIN)),
        ("garbage", {"bytes": 3, "seed": 1}, (random.Random(1).randbytes(3), FIN)),
    ],
)
def test_an_end_before_a_frame_is_answered(
    asked: Asked, kind: str, options: dict[str, Any], seen: tuple[bytes, str]
) -> None:
    """No answer of a stub is used up."""
    once = asked.peer.stub("once").reply("1").optional()
    fault = asked.fault(kind, when="before", match="once", **options)
    asked.ask(b"once\r\n")
    assert asked.client.rest() == seen
    assert (once.used, fault.happened) == (0, 1)


@pytest.mark.parametrize("kind", ["stall", "deaf"])
def test_silence_before_a_frame_is_answered(asked: Asked, kind: str) -> None:
    once = asked.peer.stub("once").reply("1").optional()
    fault = asked.fault(kind, when="before", match="once")
    asked.ask(b"once\r\n")
    fault.wait_for(timeout=PATIENCE)
    asked.quiet()
    assert asked.client.has_nothing()
    assert once.used == 0


# ---- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("patch", {"at": 6, "hex": "ff00"}, REPLY[:6] + b"\xff\x00" + REPLY[8:]),
        ("patch", {"at": 1, "hex": "4142", "offset": 4}, REPLY[:5] + b"AB" + REPLY[7:]),
        ("no-terminator", {}, REPLY[:-2]),
        ("slice", {"at": "before-lf", "pause": 0}, REPLY),
        ("slice", {"at": "middle", "pause": 0}, REPLY),
        ("slice", {"every": 1, "pause": 0}, REPLY),
        ("latency", {"seconds": 0.01}, REPLY),
        ("latency", {"seconds": 0.01, "when": "before"}, REPLY),
        ("bandwidth", {"bytes_per_second": 2000}, REPLY),
        ("coalesce", {"replies": 2, "seconds": 0.01}, REPLY),
    ],
)
def test_a_shape(asked: Asked, kind: str, options: dict[str, Any], seen: bytes) -> None:
    fault = asked.fault(kind, times=1, **options)
    asked.ask()
    assert asked.client.read(len(seen)) == seen
    assert fault.happened == 1
    asked.goes_on()


def test_corrupt_keeps_the_terminator(asked: Asked) -> None:
    asked.fault("corrupt", bytes=len(REPLY), seed=2, times=1)
    asked.ask()
    seen = asked.client.read(len(REPLY))
    assert seen.endswith(b"\r\n")
    assert all(was != now for was, now in zip(REPLY[:-2], seen[:-2], strict=True))
    asked.goes_on()


@pytest.mark.parametrize("when", ["before", "after"])
def test_latency_takes_its_time(asked: Asked, when: str) -> None:
    asked.fault("latency", seconds=0.1, when=when)
    begun = time.monotonic()
    asked.ask()
    assert asked.client.read(len(REPLY)) == REPLY
    assert time.monotonic() - begun >= 0.1


def test_replies_that_come_together(asked: Asked) -> None:
    asked.fault("coalesce", replies=2, seconds=30)
    asked.ask()
    asked.quiet()
    assert asked.client.has_nothing()
    asked.ask(b"PING\r\n")
    assert asked.client.sock.recv(100) == REPLY + b"PONG\r\n"


def test_replies_that_come_after_a_held_one_wait_with_it(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("go").reply("one", "two", "three")
    fault = peer.fault("coalesce", seconds=0.1, reply_match=b"one")
    client = peers.dial(peer)
    client.send(b"go\n")
    assert client.read(14) == b"one\ntwo\nthree\n"
    assert fault.happened == 1


# ---- selectors ---------------------------------------------------------------------------------


def test_the_greeting_is_reply_0(peers: Peers) -> None:
    peer = peers.start(lines(), greeting=["one", "two"])
    peer.fault("truncate", bytes=2, reply=0, times=1)
    assert peers.dial(peer).rest() == (b"on", FIN)
    assert peers.dial(peer).read(8) == b"one\ntwo\n"
    peer.verify()


@pytest.mark.parametrize(
    "selector",
    [
        {"request": 2},
        {"reply": 2},
        {"match": "GET"},
        {"reply_match": b"VALUE"},
        {"connection": 1, "match": "GET"},
    ],
)
def test_which_reply(asked: Asked, selector: dict[str, Any]) -> None:
    asked.fault("patch", at=0, hex="2a", **selector)
    asked.goes_on()
    asked.ask()
    assert asked.client.read(len(REPLY)) == b"*" + REPLY[1:]
    assert asked.peer.exchanges("GET")[0].state == "faulted"


def test_all_that_is_sent_on_a_connection(asked: Asked) -> None:
    asked.fault("close", unit="connection", offset=8)
    asked.goes_on()
    asked.ask()
    assert asked.client.rest() == (REPLY[:2], FIN)


def test_all_that_is_sent_on_a_connection_ends_with_it(asked: Asked) -> None:
    """Only then is it known that the offset was never reached."""
    fault = asked.fault("close", unit="connection", offset=1000)
    asked.ask()
    assert asked.client.read(len(REPLY)) == REPLY
    asked.client.close()
    assert closed(asked.peer)
    assert fault.happened == 0
    (problem,) = asked.peer.problems()
    assert f"on the connection is {len(REPLY)} bytes long, shorter than offset 1000" in problem


def test_exchanges_after_a_stall_are_faulted_too(asked: Asked) -> None:
    asked.fault("stall", request=1)
    asked.ask()
    asked.ask(b"PING\r\n")
    asked.peer.wait_for(b"PING", timeout=PATIENCE)
    asked.quiet()
    assert [found.fault for found in asked.peer.exchanges()] == ["stall request=1"] * 2


def test_an_unanswered_frame_counts_as_a_request(peers: Peers) -> None:
    peer = peers.start(lines("\r\n"))
    peer.stub("QUIET").reply()
    peer.stub("PING").reply("PONG").optional()
    fault = peer.fault("close", request=2)
    client = peers.dial(peer)
    client.send(b"QUIET\r\nPING\r\n")
    assert client.rest() == (b"", FIN)
    assert fault.happened == 1


def test_numbers_of_connections_that_have_ended_are_forgotten(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many may come and go that one which stays would lose its own otherwise."""
    monkeypatch.setattr(target_counts, "MAX_NUMBERS", 3)
    peer = peers.start(lines("\r\n"))
    peer.stub("PING").reply("PONG")
    fault = peer.fault("reset", connection=1, request=5)
    stays = peers.dial(peer)
    for count in range(4):
        client = peers.dial(peer) if count else stays
        client.send(b"PING\r\n")
        assert client.read(6) == b"PONG\r\n"
        if count:
            client.close()
            peer.wait_for_connections(count, closed=True, timeout=PATIENCE)
    stays.send(b"PING\r\n" * 4)
    fault.wait_for(timeout=PATIENCE)


def test_an_age(peers: Peers) -> None:
    peer = peers.start(lines())
    client = peers.dial(peer)
    fault = peer.fault("reset", age=0.05)
    assert client.rest() == (b"", RST)
    assert fault.happened == 1


def test_each_frame_of_a_reply_is_a_unit(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("list").reply("a", "b", "c")
    peer.fault("patch", at=0, hex="58", reply=2)
    client = peers.dial(peer)
    client.send(b"list\n")
    assert client.read(6) == b"a\nX\nc\n"


def test_a_frame_cut_at_each_byte(peers: Peers) -> None:
    peer = peers.start(length_prefixed(2))
    peer.stub("ping").reply("pong!")
    for cut in range(1, 7):
        with peer.fault("slice", at=cut, pause=0.02):
            client = peers.dial(peer)
            client.send(b"\0\4ping")
            head = client.sock.recv(100)
            assert head == b"\0\5pong!"[:cut]
            assert head + client.read(7 - cut) == b"\0\5pong!"


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("close", {"to": "server"}, "no server is behind this peer"),
        ("no-terminator", {}, "framing 'fixed:2' has none"),
        ("drop", {}, "works over UDP only; this peer is served over TCP"),
        ("close", {"service": "x"}, "service is for ESPS/1"),
        ("clos", {}, "did you mean 'close'"),
    ],
)
def test_what_makes_no_sense(
    peers: Peers, kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaultError, match=message):
        peers.start(fixed(2)).fault(kind, **options)  # type: ignore[call-overload]


# ---- outages -----------------------------------------------------------------------------------


def test_down(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("PING").reply("PONG")
    client = peers.dial(peer)
    with peer.down():
        assert client.rest() == (b"", RST)
        with pytest.raises(ConnectionRefusedError):
            peers.dial(peer)
    client = peers.dial(peer)
    client.send(b"PING\n")
    assert client.read(5) == b"PONG\n"


def test_silent(peers: Peers) -> None:
    peer = peers.start(lines())
    peer.stub("PING").reply("PONG")
    client = peers.dial(peer)
    with peer.down("silent"):
        client.send(b"PING\n")
        peer.problems()
        assert client.has_nothing()
    assert client.read(5) == b"PONG\n"
