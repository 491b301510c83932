"""Running servers that are given inputs: each goes on, says nothing wrong, and logs no failure."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import attrs

from esps_portal.protocol.messages import parse_answer_untrusted
from tests.attacks.targets import Target, started
from tests.fuzz import samples
from tests.fuzz.mutations import Corpus, pieces
from tests.fuzz.parsers import Check

_PATIENCE = 10.0  # seconds for the end of a connection: longer than a drain
_MOST_DATAGRAM = 1200  # bytes: the default of max-datagram


@attrs.frozen
class Server:
    """What is given inputs.

    Attributes:
        open: starts it, and yields what checks one input.
    """

    corpus: Corpus
    open: Callable[[], AbstractContextManager[Check]]


def said(port: int, data: bytes) -> bytes:
    """Send an input in pieces, then FIN; return all that comes back."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), _PATIENCE) as client:
        with contextlib.suppress(ConnectionError):  # it may have heard enough
            for piece in pieces(data, random.Random(len(data))):
                client.sendall(piece)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := client.recv(65536):
                got += piece
    return got


@contextlib.contextmanager
def _watched(target: Target, check: Check) -> Iterator[Check]:
    """Have each check look at the server too."""

    def watched(data: bytes) -> None:
        check(data)
        assert target.process.poll() is None, "the server has ended"
        failures = [line for line in target.log.lines if " failed" in line or "Error" in line]
        assert not failures, failures
        assert not target.log.problems, target.log.problems

    yield watched


@contextlib.contextmanager
def tcp() -> Iterator[Check]:
    """A portal, over TCP: all that it says are answers."""
    with started("serve", "--limit", "drain=0.1", "--limit", "linger=0.1") as target:

        def check(data: bytes) -> None:
            got = said(target.port, data)
            assert got.startswith(b"* ESPS/1 "), got
            if b"garbage" in data or b"truncate" in data or b"reset" in data:
                return  # they are for that
            assert got.endswith(b"\n"), got
            for line in got.splitlines():
                parse_answer_untrusted(line)

        with _watched(target, check) as watched:
            yield watched


@contextlib.contextmanager
def udp() -> Iterator[Check]:
    """A portal, over UDP: no reply is longer than it may be, and a good client is answered."""
    with started("serve") as target:

        def check(data: bytes) -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.connect(("127.0.0.1", target.port))
                sock.send(data)
                sock.send(b"good-one PING\n")
                while (reply := sock.recv(65535)) != b"good-one OK\n":
                    assert len(reply) <= min(_MOST_DATAGRAM, 3 * len(data)), reply
                    if b"garbage" not in data and b"truncate" not in data:
                        for line in reply.splitlines():
                            parse_answer_untrusted(line)

        with _watched(target, check) as watched:
            yield watched


@contextlib.contextmanager
def control() -> Iterator[Check]:
    """The control port: it answers with HTTP, and never with 500."""
    with started("serve", "--control") as target:

        def check(data: bytes) -> None:
            got = said(target.control, data)
            assert not got or got.startswith(b"HTTP/1.1 "), got
            assert b"HTTP/1.1 500" not in got, got

        with _watched(target, check) as watched:
            yield watched


@contextlib.contextmanager
def proxy() -> Iterator[Check]:
    """A proxy with a framing in front of an echo: what comes back is what was sent."""
    with echo() as port:
        options = "--framing", "lines:lf", "--fault", "latency seconds=0.001 match=nosuchword"
        with started("proxy", "--upstream", f"tcp://127.0.0.1:{port}", *options) as target:

            def check(data: bytes) -> None:
                assert said(target.port, data) == data

            with _watched(target, check) as watched:
                yield watched


@contextlib.contextmanager
def peer() -> Iterator[Check]:
    """A peer: whatever it hears, it goes on."""
    with started("peer", "--framing", "lines:crlf", "--greeting", "hello") as target:

        def check(data: bytes) -> None:
            assert said(target.port, data).startswith(b"hello\r\n")

        with _watched(target, check) as watched:
            yield watched


@contextlib.contextmanager
def echo() -> Iterator[int]:
    """Serve an echo, a thread for each connection."""

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):
            while data := client.recv(65536):
                client.sendall(data)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            if over.is_set():
                client.close()
                return
            threading.Thread(target=serve, args=[client]).start()

    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield port
        finally:
            over.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join()


_REQUESTS = Corpus(samples.REQUESTS, samples.REQUEST_WORDS)

SERVERS = {
    "tcp": Server(_REQUESTS, tcp),
    "udp": Server(_REQUESTS, udp),
    "control": Server(Corpus(samples.HTTP, samples.HTTP_WORDS), control),
    "proxy": Server(_REQUESTS, proxy),
    "peer": Server(_REQUESTS, peer),
}
