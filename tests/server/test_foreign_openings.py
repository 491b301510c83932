"""How clients of other protocols begin; no request after that is executed.

Each opening is sent whole and byte by byte, with a request after it that an attacker would like to
have executed. The connection gets at most one error, and ends.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.cases import cases
from tests.processes import RunningServer, running_server

# What is sent, and how the one answer begins.
OPENINGS = {
    "http-1.1": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"GET ERR bad-line "),
    "http-1.0": (b"POST /x y HTTP/1.0\n", b"POST ERR bad-line "),
    "http-0.9": (b"GET /\r\n", b"GET ERR bad-line "),
    "http-10.1": (b"GET / HTTP/10.1\r\n", b"GET ERR bad-line "),
    "http-2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"PRI ERR bad-line "),
    "http-proxy": (b"GET http://localhost/PING HTTP/1.1\r\n", b"GET ERR bad-line "),
    "http-connect": (b"CONNECT localhost:2867 HTTP/1.1\r\n", b"CONNECT ERR bad-line "),
    "http-after-an-empty-line": (b"\r\nGET / HTTP/1.1\r\n", b"GET ERR bad-line "),
    "http-no-target": (b"GET  HTTP/1.1\r\n", b"GET ERR bad-line "),
    # fetch(url, {method: "M".repeat(40)}) with a path of more than 8 KB
    "fetch-method": (b"M" * 40 + b" / HTTP/1.1\r\n", b"* ERR bad-line "),
    "fetch-path": (b"GET /" + b"p" * 9000 + b" HTTP/1.1\r\n", b"GET ERR too-long "),
    "fetch": (b"M" * 40 + b" /" + b"p" * 9000 + b" HTTP/1.1\r\n", b"* ERR too-long "),
    "fetch-endless": (b"GET /" + b"p" * 70_000 + b" HTTP/1.1\r\n", b"GET ERR too-long "),
    "rtsp": (b"OPTIONS rtsp://localhost/a RTSP/1.0\r\nCSeq: 1\r\n", b"OPTIONS ERR bad-line "),
    "rtsp-star": (b"OPTIONS * RTSP/1.0\r\n", b"OPTIONS ERR bad-line "),
    "sip": (b"OPTIONS sip:a@localhost SIP/2.0\r\n", b"OPTIONS ERR bad-line "),
    "smtp-ehlo": (b"EHLO client.example\r\n", b"EHLO ERR bad-line "),
    "smtp-helo": (b"HELO localhost\r\n", b"HELO ERR unknown-verb "),
    "smtp-mail": (b"MAIL FROM:<a@b.example>\r\n", b"MAIL ERR bad-line "),
    "ftp": (b"USER anonymous\r\n", b"USER ERR unknown-verb "),
    "pop3": (b"CAPA\r\n", b"CAPA ERR bad-line "),
    "imap": (b"a001 LOGIN user secret\r\n", b"a001 ERR unknown-verb "),
    "irc": (b"NICK someone\r\n", b"NICK ERR unknown-verb "),
    "ssh": (b"SSH-2.0-OpenSSH_9.6\r\n", b"SSH-2.0-OpenSSH_9.6 ERR bad-line "),
    "resp": (b"*1\r\n$4\r\nPING\r\n", b"* ERR bad-line "),
    "redis-inline": (b"PING\r\n", b"PING ERR bad-line "),
    "redis-inline-get": (b"GET key\r\n", b"GET ERR unknown-verb "),
    "memcached": (b"get key\r\n", b"get ERR unknown-verb "),
    "memcached-set": (b"set key:1 0 0 18\r\n", b"set ERR bad-line "),
    "tls": (bytes.fromhex("16030100a5010000a10303"), b"* ERR bad-line "),
    "proxy-v1": (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2867\r\n", b"PROXY ERR bad-line "),
    "proxy-v1-unknown": (b"PROXY UNKNOWN\r\n", b"PROXY ERR unknown-verb "),
    "proxy-v2": (bytes.fromhex("0d0a0d0a000d0a515549540a20000000"), b"* ERR bad-line "),
    "gopher": (b"/files\r\n", b"* ERR bad-line "),
    "gopher-search": (b"0/a\tPING\r\n", b"* ERR bad-line "),
    "finger": (b"/W someone\r\n", b"* ERR bad-line "),
    "json": (b'{"method": "PING"}\n', b"* ERR bad-line "),
    "mqtt": (bytes.fromhex("100c00044d5154540402003c0000"), b"* ERR bad-line "),
    "postgresql": (bytes.fromhex("0000000804d2162f"), b"* ERR bad-line "),
    "sloppy-client": (b"a  PING\r\n", b"a ERR bad-line "),
    "path-for-a-name": (b"x CALL /count HTTP/1.1\r\n", b"x ERR bad-arguments "),
}

# Openings that are requests of ESPS/1 (specification, section 13.4), and their answers.
REQUESTS = {
    "redis-inline": (b"GET PING\r\n", b"GET OK"),
    "memcached": (b"set PING 0 0 18\r\n", b"set OK 0 0 18"),
    "http-of-no-browser": (b"GET PING HTTP/1.1\r\n", b"GET OK HTTP/1.1"),
    "gopher": (b"1 PING\r\n", b"1 OK"),
}

SMUGGLED = b"\nx CALL count smuggled\nx QUIT\n"


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def strict_portal() -> Iterator[RunningServer]:
    with running_server("--require-hello") as running:
        yield running


def answers_to(portal: RunningServer, pieces: list[bytes]) -> list[bytes]:
    """Return the lines that come back after the greeting, until the server closes."""
    with socket.create_connection(("127.0.0.1", portal.port), timeout=30) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            peer.sendall(piece)
        with peer.makefile("rb") as lines:
            greeting, *answers = lines.read().splitlines()
    assert greeting.startswith(b"* ESPS/1 ")
    return answers


def in_pieces(data: bytes) -> list[list[bytes]]:
    """Return the data whole, and byte by byte as far as that takes little time."""
    short = data if len(data) < 1000 else data[:20]
    return [[data], [*(bytes((byte,)) for byte in short), data[len(short) :]]]


@cases(("opening", "answer"), OPENINGS.values())
def test_nothing_after_it_runs(opening: bytes, answer: bytes, portal: RunningServer) -> None:
    # ESPS-LINE-20, ESPS-LINE-21, ESPS-LINE-22, ESPS-SEC-1
    for pieces in in_pieces(opening + SMUGGLED):
        (got,) = answers_to(portal, pieces)
        assert got.startswith(answer)
        assert b"connection%20closes" in got


@pytest.mark.parametrize(("opening", "answer"), REQUESTS.values(), ids=REQUESTS)
def test_what_is_a_request_runs(opening: bytes, answer: bytes, portal: RunningServer) -> None:
    for pieces in in_pieces(opening + b"z PING\nx QUIT\n"):
        assert answers_to(portal, pieces) == [answer, b"z OK", b"x OK"]


@cases(
    "opening",
    [opening for opening, _ in (*OPENINGS.values(), *REQUESTS.values())],
)
def test_where_hello_is_required_none_runs(opening: bytes, strict_portal: RunningServer) -> None:
    for pieces in in_pieces(opening + SMUGGLED):  # ESPS-LINE-23
        (got,) = answers_to(strict_portal, pieces)
        assert b" ERR bad-line " in got or b" ERR too-long " in got


def test_where_hello_is_required_it_is_enough(strict_portal: RunningServer) -> None:
    # ESPS-LINE-23
    pieces = [b"\r\na HELLO ESPS/2 ESPS/1\nb nonsense\nc CALL count\nx QUIT\n"]
    hello, nonsense, *rest = answers_to(strict_portal, pieces)
    assert hello.startswith(b"a OK ESPS/1 ")
    assert nonsense.startswith(b"b ERR unknown-verb ")
    assert rest == [b"c OK 1", b"x OK"]


def test_where_hello_is_required_udp_needs_none(strict_portal: RunningServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(30)
        peer.connect(("127.0.0.1", strict_portal.port))
        peer.send(b"a PING\n")
        assert peer.recv(100) == b"a OK\n"


def test_nothing_was_smuggled(portal: RunningServer, strict_portal: RunningServer) -> None:
    """Nothing counted, whatever was sent by the tests before this one."""
    for opening, _ in OPENINGS.values():
        answers_to(portal, [opening + SMUGGLED])
        answers_to(strict_portal, [opening + SMUGGLED])
    probe = [b"a HELLO ESPS/1\nb CALL count smuggled\nx QUIT\n"]
    for each in (portal, strict_portal):
        assert answers_to(each, probe)[1] == b"b OK 1"
