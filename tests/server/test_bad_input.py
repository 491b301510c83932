"""What strangers send: each malformed line gets the answer that the specification names.

Every case goes over real sockets: whole, byte by byte, and pipelined behind and before good
requests, which must still be answered.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.cases import cases
from tests.processes import RunningServer, running_server

# What is sent (without LF), and how the answer begins.
LINES = [
    # ESPS-LINE-4 to ESPS-LINE-8: octets and spaces
    (b"a PI\rNG", b"a ERR bad-line"),
    (b"a PING\r\r", b"a ERR bad-line"),
    (b"\ra PING", b"* ERR bad-line"),
    (b"\r\r", b"* ERR bad-line"),
    (b"a\tPING", b"* ERR bad-line"),
    (b"a PING\t", b"a ERR bad-line"),
    (b"a PING \x00", b"a ERR bad-line"),
    (b"\x00", b"* ERR bad-line"),
    (b"\x01\x02\x03", b"* ERR bad-line"),
    (b"a PING \x1b[2J", b"a ERR bad-line"),
    (b"a PING \x7f", b"a ERR bad-line"),
    (b"a PING \x80", b"a ERR bad-line"),
    (b"\xff\xfe\xfd", b"* ERR bad-line"),
    ("a PING ü".encode(), b"a ERR bad-line"),
    ("ä PING".encode(), b"* ERR bad-line"),
    (b" ", b"* ERR bad-line"),
    (b"  ", b"* ERR bad-line"),
    (b" a PING", b"* ERR bad-line"),
    (b"a PING ", b"a ERR bad-line"),
    (b"a  PING", b"a ERR bad-line"),
    (b"a PING  x", b"a ERR bad-line"),
    (b"a PING \r", b"a ERR bad-line"),
    (b"a ", b"a ERR bad-line"),
    # ESPS-LINE-12: tags and verbs
    (b"a", b"a ERR bad-line"),
    (b"a\r", b"a ERR bad-line"),
    (b"*", b"* ERR bad-line"),
    (b"* PING", b"* ERR bad-line"),
    (b"* ERR busy", b"* ERR bad-line"),
    (b"* BYE closing", b"* ERR bad-line"),
    (b"a:b PING", b"* ERR bad-line"),
    (b"a/b PING", b"* ERR bad-line"),
    (b"t" * 33 + b" PING", b"* ERR bad-line"),
    (b"t" * 33, b"* ERR bad-line"),
    (b"a PING1", b"a ERR bad-line"),
    (b"a P-NG", b"a ERR bad-line"),
    (b"a " + b"V" * 17, b"a ERR bad-line"),
    (b"a /etc/passwd", b"a ERR bad-line"),
    (b"%61 PING", b"* ERR bad-line"),
    (b"a %50ING", b"a ERR bad-line"),
    # ESPS-ARG-7, ESPS-ARG-8, ESPS-MSG-8: arguments and padding
    (b"a PING %", b"a ERR bad-line"),
    (b"a PING %4", b"a ERR bad-line"),
    (b"a PING %4 1", b"a ERR bad-line"),
    (b"a PING %G0", b"a ERR bad-line"),
    (b"a PING %%41", b"a ERR bad-line"),
    (b'a PING "', b"a ERR bad-line"),
    (b'a PING """', b"a ERR bad-line"),
    (b'a PING "x"', b"a ERR bad-line"),
    (b'a PING x"', b"a ERR bad-line"),
    (b'a PING ""x', b"a ERR bad-line"),
    (b"a PING x#", b"a ERR bad-line"),
    (b"a PING #x", b"a ERR bad-line"),
    (b"a PING # x", b"a ERR bad-line"),
    (b"a PING ## ##", b"a ERR bad-line"),
    (b"a #", b"a ERR bad-line"),
    (b"#", b"* ERR bad-line"),
    # ESPS-LINE-14, ESPS-CHK-1: too long
    (b"a PING " + b"x" * 8185, b"a ERR too-long"),
    (b"x" * 8192, b"* ERR too-long"),
    (b"a PING " + b"\xff" * 9000, b"a ERR too-long"),
    (b"a" * 32 + b" " + b"x" * 9000, b"a" * 32 + b" ERR too-long"),
    # ESPS-MSG-1: verbs
    (b"a ping", b"a ERR unknown-verb"),
    (b"a Ping x", b"a ERR unknown-verb"),
    (b"a GET", b"a ERR unknown-verb"),
    (b"a OK", b"a ERR unknown-verb"),
    (b"a PINGPING", b"a ERR unknown-verb"),
    # ESPS-VERB: arguments
    (b"a HELLO", b"a ERR bad-arguments"),
    (b"a HELLO 1", b"a ERR bad-arguments"),
    (b"a HELLO ESPS/1 ESPS/x", b"a ERR bad-arguments"),
    (b"a HELLO ESPS/2", b"a ERR unsupported-version"),
    (b"a LIST a b", b"a ERR bad-arguments"),
    (b'a LIST ""', b"a ERR unknown-service"),
    (b"a CALL", b"a ERR bad-arguments"),
    (b'a CALL ""', b"a ERR bad-arguments"),
    (b"a CALL ECHO", b"a ERR bad-arguments"),
    (b"a CALL %00", b"a ERR bad-arguments"),
    (b"a CALL %65ch", b"a ERR unknown-service"),
    (b"a CANCEL", b"a ERR bad-arguments"),
    (b"a CANCEL %20", b"a ERR bad-arguments"),
    (b"a CANCEL a", b"a ERR not-in-flight"),
    (b"a QUIT now", b"a ERR bad-arguments"),
    # ESPS-SVC-2: arguments of services
    (b"a CALL time now", b"a ERR bad-arguments"),
    (b"a CALL delay", b"a ERR bad-arguments"),
    (b"a CALL delay -1", b"a ERR bad-arguments"),
    (b"a CALL delay 1.5", b"a ERR bad-arguments"),
    (b"a CALL delay 3600001", b"a ERR bad-arguments"),
    (b"a CALL delay " + b"9" * 4000, b"a ERR bad-arguments"),
    (b"a CALL delay %C2%B2", b"a ERR bad-arguments"),
    (b"a CALL drip 1", b"a ERR bad-arguments"),
    (b"a CALL chargen 100001", b"a ERR bad-arguments"),
    (b"a CALL chargen 1 0", b"a ERR bad-arguments"),
    (b"a CALL chargen 1 513", b"a ERR bad-arguments"),
    (b"a CALL random 2049", b"a ERR bad-arguments"),
    (b"a CALL random x", b"a ERR bad-arguments"),
    (b"a CALL count " + b"n" * 65, b"a ERR bad-arguments"),
    (b"a CALL fail", b"a ERR bad-arguments"),
    (b"a CALL fail Busy", b"a ERR bad-arguments"),
    (b"a CALL truncate 8001", b"a ERR bad-arguments"),
    (b"a CALL garbage", b"a ERR bad-arguments"),
    (b"a CALL close now", b"a ERR bad-arguments"),
]


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


def connect(portal: RunningServer) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", portal.port), timeout=30)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def answers_to(portal: RunningServer, *pieces: bytes) -> list[bytes]:
    """Send a good first line and the pieces; return the lines that come back to the pieces."""
    with connect(portal) as peer, peer.makefile("rb") as lines:
        for piece in (b"first PING\n", *pieces):
            peer.sendall(piece)
        greeting, first, *answers = lines.read().splitlines()
    assert greeting.startswith(b"* ESPS/1 ")
    assert first == b"first OK"
    return answers


def assert_answered(answers: list[bytes], expected: bytes) -> None:
    """A task's refusal may come behind the answer to the good request."""
    *first, last = answers
    assert last == b"z OK"
    assert first.count(b"b OK x") == 1
    first.remove(b"b OK x")
    (got,) = first
    assert got.startswith(expected)


@cases(("line", "answer"), LINES)
def test_whole(line: bytes, answer: bytes, portal: RunningServer) -> None:
    assert_answered(answers_to(portal, line + b"\n", b"b PING x\n", b"z QUIT\n"), answer)


@cases(("line", "answer"), [case for case in LINES if len(case[0]) < 100])
def test_byte_by_byte(line: bytes, answer: bytes, portal: RunningServer) -> None:
    octets = [bytes((octet,)) for octet in line + b"\nb PING x\nz QUIT\n"]
    assert_answered(answers_to(portal, *octets), answer)


def test_pipelined(portal: RunningServer) -> None:
    """All of them on one connection, each between two good requests."""
    sent = b"".join(b"b%d PING\n%b\n" % (n, line) for n, (line, _) in enumerate(LINES))
    answers = answers_to(portal, sent, b"z QUIT\n")
    assert answers.pop() == b"z OK"
    got = [a for a in answers if not a.startswith(b"b")]
    assert len(got) == len(LINES)
    assert [a for a in answers if a.startswith(b"b")] == [b"b%d OK" % n for n in range(len(LINES))]
    for _, answer in LINES:
        assert any(a.startswith(answer) for a in got)


def test_an_urgent_octet_belongs_to_its_line(portal: RunningServer) -> None:  # ESPS-TCP-24
    with connect(portal) as peer, peer.makefile("rb") as lines:
        peer.sendall(b"first PING\na PI")
        peer.send(b"x", socket.MSG_OOB)
        peer.sendall(b"NG\nz QUIT\n")
        _, _, answer, last = lines.read().splitlines()
    assert answer.startswith(b"a ERR unknown-verb")
    assert last == b"z OK"


@cases(("line", "answer"), [case for case in LINES if len(case[0]) < 1000])
def test_over_udp(line: bytes, answer: bytes, portal: RunningServer) -> None:
    """A tagged error where it fits three times the request, else silence (ESPS-UDP-4)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(30)
        peer.connect(("127.0.0.1", portal.port))
        peer.send(line + b"\n")
        peer.send(b"last PING\n")
        got = peer.recv(65536)
        if got != b"last OK\n":
            tcp_only = line.startswith((b"a QUIT", b"a CANCEL")) or b" CALL truncate" in line
            tcp_only = tcp_only or line.startswith((b"a CALL garbage", b"a CALL close"))
            expected = b"a ERR use-tcp" if tcp_only else answer
            assert got.startswith((expected, b"a ERR too-large"))
            assert len(got) <= 3 * (len(line) + 1)  # ESPS-UDP-12
            assert peer.recv(65536) == b"last OK\n"


def test_the_server_is_up(portal: RunningServer) -> None:
    assert answers_to(portal, b"a PING\nz QUIT\n") == [b"a OK", b"z OK"]
    assert portal.process.poll() is None
