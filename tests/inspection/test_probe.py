from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

import pytest

from esps_portal.inspection.probe import (
    ProbeResult,
    ProbeTarget,
    _refuse_self_connection,
    probe,
    probe_all,
)
from esps_portal.product import PRODUCT
from esps_portal.testing import serve_in_thread
from tests.inspection.servers import (
    LOOPBACK,
    answer_pings,
    bound,
    free_port,
    pong,
    portal,
    tcp_server,
    udp_server,
    until_closed,
)

Talk = Callable[[socket.socket], object]

# Seconds: LONG ends early, with the answer; SHORT passes in full.
LONG = 10.0
SHORT = 0.2

families = pytest.mark.parametrize("family", list(LOOPBACK), ids=lambda f: f.name)


def saying(data: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(data)
        until_closed(connection)

    return talk


def answering(data: bytes, greeting: bytes = b"* ESPS/1 fake/1.0\n") -> Talk:
    """Greet, and answer the first data with ``data``."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(greeting)
        connection.recv(4096)
        connection.sendall(data)
        until_closed(connection)

    return talk


def leaving(connection: socket.socket) -> None:
    """Close at once."""


def resetting(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def flooding(connection: socket.socket) -> None:
    try:
        while True:
            connection.sendall(b"a" * 65536)
    except OSError:
        pass


def dripping(connection: socket.socket) -> None:
    """Greet one byte at a time."""
    for byte in b"* ESPS/1 fake/1.0\n":
        connection.sendall(bytes([byte]))
    answer_pings(connection)


def probe_tcp(talk: Talk, timeout: float = LONG) -> ProbeResult:
    with tcp_server(talk) as port:
        return probe(ProbeTarget("tcp", "127.0.0.1", port), timeout)


def probe_udp(reply: Callable[[bytes], bytes | None], timeout: float = LONG) -> ProbeResult:
    with udp_server(reply) as port:
        return probe(ProbeTarget("udp", "127.0.0.1", port), timeout)


# ---- TCP ---------------------------------------------------------------------------------------


@families
def test_a_portal_is_recognised_by_its_greeting_and_its_reply(family: socket.AddressFamily) -> None:
    with tcp_server(portal, family) as port:
        answer = probe(ProbeTarget("tcp", LOOPBACK[family], port), LONG)
    assert (answer.verdict, answer.product, answer.message) == ("esps-1", "fake/1.0", "")
    assert 0 < answer.seconds < LONG


@pytest.mark.parametrize(
    ("talk", "message"),
    [
        (dripping, ""),
        (answering(b"* BYE idle\ninspect OK x\n"), ""),
        (answering(b"inspect OK x\r\n"), ""),
        (answering(b"inspect ERR closing\n"), "it replies to PING with an error: closing"),
        (saying(b"* BYE busy\n"), "it refuses the connection: busy"),
        (saying(b"* BYE closing\n"), "it refuses the connection: closing"),
    ],
)
def test_other_ways_to_speak_esps(talk: Talk, message: str) -> None:
    answer = probe_tcp(talk)
    assert (answer.verdict, answer.message) == ("esps-1", message)


@pytest.mark.parametrize(
    ("talk", "message", "excerpt"),
    [
        (saying(b"220 mail.example ESMTP\r\n"), "", r"220 mail.example ESMTP\r\n"),
        (saying(b"* OK IMAP4rev1\r\n"), "", r"* OK IMAP4rev1\r\n"),
        (saying(b"* BYE too many\r\n"), "", r"* BYE too many\r\n"),
        (saying(b"* ERR busy\n"), "", r"* ERR busy\n"),
        (saying(b"* ESPS/2 x\n"), "", r"* ESPS/2 x\n"),
        (saying(b"\x1b[2J\x00\xff\\\n"), "", r"\x1b[2J\x00\xff\\\n"),
        (saying(b"\n"), "", r"\n"),
        (saying(b"a" * 100 + b"\n"), "", "a" * 60 + "..."),
        (flooding, "", "a" * 60 + "..."),
        (leaving, "it closes without sending anything", ""),
        (saying(b"* ERR bad-lines\n"), "", r"* ERR bad-lines\n"),
        (
            answering(b"inspect OK y\n"),
            "it greets, but does not reply to PING as ESPS/1 does",
            "inspect OK y",
        ),
        (
            answering(b"\xff\n"),
            "it greets, but does not reply to PING as ESPS/1 does",
            r"\xff",
        ),
    ],
)
def test_something_else_is_shown_escaped_and_cut_off(
    talk: Talk, message: str, excerpt: str
) -> None:
    answer = probe_tcp(talk)
    assert (answer.verdict, answer.message, answer.excerpt) == ("something else", message, excerpt)


@pytest.mark.parametrize(
    ("data", "excerpt"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46\n", ""),
        (b"* ERR bad-line x\n", r"* ERR bad-line x\n"),
    ],
)
def test_what_expects_tls_may_be_no_portal(data: bytes, excerpt: str) -> None:
    """It accepts no second connection, so the handshake takes the rest of the time."""
    answer = probe_tcp(saying(data), SHORT)
    assert (answer.verdict, answer.message) == ("something else", "it seems to expect TLS")
    assert answer.excerpt == excerpt


def test_a_portal_over_tls() -> None:
    with serve_in_thread(tls=True) as portal:
        answer = probe(ProbeTarget("tcp", portal.host, portal.port), 2.0)
    assert (answer.verdict, answer.product, answer.message) == ("esps-1", PRODUCT, "over TLS")
    assert answer.tls


def test_a_reset_is_something_else() -> None:
    answer = probe_tcp(resetting)
    assert (answer.verdict, answer.message) == ("something else", "it aborts the connection")


@pytest.mark.parametrize(
    ("error", "verdict", "message"),
    [
        (TimeoutError(), "unreachable", "connecting timed out"),
        (ConnectionResetError(), "something else", "it aborts the connection"),
        (ConnectionRefusedError(), "clear", ""),
        (OSError("bad"), "unreachable", "bad"),
        (OSError(113, "No route to host"), "unreachable", "No route to host"),
    ],
)
def test_a_connect_that_fails(
    monkeypatch: pytest.MonkeyPatch, error: OSError, verdict: str, message: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    answer = probe(ProbeTarget("tcp", "127.0.0.1", 9), SHORT)
    assert (answer.verdict, answer.message) == (verdict, message)


def test_a_greeting_without_a_reply_is_something_else() -> None:
    answer = probe_tcp(saying(b"* ESPS/1 fake/1.0\n"), SHORT)
    assert answer.verdict == "something else"
    assert answer.message == "it greets, but does not reply to PING"


def test_a_flood_of_notices_after_the_greeting_is_limited() -> None:
    notices = b"* ESPS/1 fake/1.0\n" + b"* BYE idle\n" * 10_000
    answer = probe_tcp(saying(notices))
    assert answer.message == "it greets, but does not reply to PING"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent in the second part of the time is sent soon."""
    monkeypatch.setattr("esps_portal.inspection.probe.FIRST_SHARE", SHORT / LONG)


@pytest.mark.usefixtures("soon")
def test_a_server_that_waits_for_the_client_shows_its_error() -> None:
    answer = probe_tcp(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", greeting=b""), LONG)
    assert answer.verdict == "something else"
    assert answer.excerpt == r"HTTP/1.1 400 Bad Request\r\n\r\n"


@pytest.mark.usefixtures("soon")
def test_a_portal_that_greets_late_is_recognised() -> None:
    def late(connection: socket.socket) -> None:
        ping = connection.recv(4096)  # sent after the first part of the time
        connection.sendall(b"* ESPS/1 late/1\n" + (pong(ping) or b""))
        until_closed(connection)

    answer = probe_tcp(late, LONG)
    assert (answer.verdict, answer.product) == ("esps-1", "late/1")


@families
def test_a_server_that_sends_nothing_is_silent(family: socket.AddressFamily) -> None:
    with bound(socket.SOCK_STREAM, family) as (_, port):
        assert probe(ProbeTarget("tcp", LOOPBACK[family], port), SHORT).verdict == "silent"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_unused_port_is_clear(transport: str) -> None:
    assert probe(ProbeTarget(transport, "127.0.0.1", free_port()), LONG).verdict == "clear"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("host", ["", "no such host", "a" * 70, "fe80::1", "256.1.1.1"])
def test_what_cannot_be_reached_is_unreachable_or_clear(transport: str, host: str) -> None:
    answer = probe(ProbeTarget(transport, host, 9), SHORT)
    assert answer.verdict in {"unreachable", "clear"}


def test_a_connection_to_itself_is_refused() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        ours.connect(ours.getsockname())
        with pytest.raises(ConnectionRefusedError):
            _refuse_self_connection(ours)  # a test cannot make the kernel choose this port


def test_a_peer_that_has_disconnected_is_not_refused() -> None:
    with socket.socket() as unconnected:
        _refuse_self_connection(unconnected)  # a race with the peer's reset


# ---- UDP ---------------------------------------------------------------------------------------


@families
def test_a_portal_is_recognised_by_its_datagram(family: socket.AddressFamily) -> None:
    with udp_server(pong, family) as port:
        answer = probe(ProbeTarget("udp", LOOPBACK[family], port), LONG)
    assert (answer.verdict, answer.product, answer.message) == ("esps-1", None, "")


def test_an_error_reply_is_esps_too() -> None:
    answer = probe_udp(lambda d: d.split()[0] + b" ERR busy\n")
    assert (answer.verdict, answer.message) == ("esps-1", "it replies to PING with an error: busy")


@pytest.mark.usefixtures("soon")
def test_a_lost_datagram_is_sent_again_with_its_tag() -> None:
    seen: list[bytes] = []

    def forgetful(datagram: bytes) -> bytes | None:
        seen.append(datagram)
        return pong(datagram) if len(seen) > 1 else None

    assert probe_udp(forgetful, LONG).verdict == "esps-1"
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "reply",
    [
        lambda datagram: datagram,  # an echo service
        lambda datagram: (pong(datagram) or b"").removesuffix(b"\n"),
        lambda datagram: (pong(datagram) or b"") * 2,
        lambda _: b"other OK x\n",
        lambda _: b"* ESPS/1 fake\n",
        lambda _: b"\x00\x01",
        lambda _: b"",
    ],
)
def test_another_datagram_is_something_else(reply: Callable[[bytes], bytes]) -> None:
    answer = probe_udp(reply)
    assert answer.verdict == "something else"
    assert answer.excerpt.isprintable()


def test_a_socket_that_nobody_reads_is_silent() -> None:
    with bound(socket.SOCK_DGRAM) as (_, port):
        assert probe(ProbeTarget("udp", "127.0.0.1", port), SHORT).verdict == "silent"


# ---- several -----------------------------------------------------------------------------------


def test_all_are_probed_at_the_same_time() -> None:
    both_are_connected = threading.Barrier(2, timeout=LONG)

    def waiting(connection: socket.socket) -> None:
        both_are_connected.wait()
        portal(connection)

    with tcp_server(waiting) as one, tcp_server(waiting) as other:
        targets = [ProbeTarget("tcp", "127.0.0.1", port) for port in (one, other)]
        answers = probe_all(targets, LONG)
    assert [(a.verdict, a.port) for a in answers] == [("esps-1", one), ("esps-1", other)]


def test_no_targets() -> None:
    assert probe_all([], SHORT) == []
