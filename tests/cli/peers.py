"""Servers for the command to connect to: fixed replies over TCP, an echo over UDP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.patience import PATIENCE
from tests.processes import RunningServer

GREETING = "* ESPS/1 test/1\n"
HELLO = "OK ESPS/1 test/1"


@contextlib.contextmanager
def tcp_server(greeting: str | bytes, *answers: str) -> Iterator[str]:
    """Run a TCP server with one answer to each request of one connection; yield its URL.

    A HELLO for which there is none is answered too: the command sends one more than usual where it
    had to wait for the greeting, on a machine that is slow.
    """

    def serve() -> None:
        peer, _ = server.accept()
        peer.settimeout(PATIENCE)
        # The command may end first, with a RST; what it prints is judged.
        with peer, peer.makefile("rb") as lines, contextlib.suppress(OSError):
            peer.sendall(greeting if isinstance(greeting, bytes) else greeting.encode())
            left = list(answers)
            while left and (line := lines.readline()):
                tag, verb, *_ = line.decode().split()
                is_extra = verb == "HELLO" and greeting and not left[0].startswith(HELLO)
                answer = HELLO if is_extra else left.pop(0)
                peer.sendall("".join(f"{tag} {row}\n" for row in answer.split("\n")).encode())
            peer.shutdown(socket.SHUT_WR)
            peer.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"esps://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(30)


@contextlib.contextmanager
def udp_echo_server() -> Iterator[str]:
    """Run a UDP server that sends each datagram back (RFC 862); yield its URL."""

    def serve() -> None:
        while True:
            datagram, source = server.recvfrom(2000)
            if not datagram:
                return
            server.sendto(datagram, source)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield "esps+udp://{}:{}".format(*server.getsockname())
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            thread.join(30)


def send_pings(running: RunningServer, count: int) -> None:
    """Send PINGs over one connection and read the replies; more than a pipe has room to report."""
    peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
    with peer, peer.makefile("rb") as lines:
        assert lines.readline().startswith(b"* ESPS/1 ")
        for _ in range(count // 100):
            peer.sendall(b"a PING\n" * 100)
            for _ in range(100):
                assert lines.readline() == b"a OK\n"


@contextlib.contextmanager
def unused_address() -> Iterator[str]:
    """Yield HOST:PORT of a bound TCP port that does not listen."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*reserved.getsockname())
