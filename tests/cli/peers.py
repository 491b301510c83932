"""The command in this process, and peers to talk to: a script over TCP, an echo over UDP."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from click.testing import CliRunner

from esps_portal.cli import main

GREETING = "* ESPS/1 test/1\n"


def invoke(
    *args: str, url: str = "", stdin: bytes = b"", color: bool = False
) -> tuple[int, str, str]:
    """Run the command in this process; return exit code, standard output and standard error."""
    environment = {"ESPS_PORTAL_URL": url or None}
    ran = CliRunner().invoke(main, args, input=stdin, env=environment, color=color)
    return ran.exit_code, ran.stdout_bytes.decode(), ran.stderr_bytes.decode()


@contextlib.contextmanager
def saying(greeting: str | bytes, *answers: str) -> Iterator[str]:
    """A TCP server with an answer, of one line or more, for each request; yields its URL."""

    def serve() -> None:
        peer, _ = server.accept()
        peer.settimeout(30)
        with peer, peer.makefile("rb") as lines:
            peer.sendall(greeting if isinstance(greeting, bytes) else greeting.encode())
            for answer, line in zip(answers, lines, strict=False):
                tag = line.split()[0].decode()
                peer.sendall("".join(f"{tag} {row}\n" for row in answer.split("\n")).encode())
            peer.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                peer.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"esps://127.0.0.1:{server.getsockname()[1]}"
        finally:
            thread.join(30)


@contextlib.contextmanager
def echoing() -> Iterator[str]:
    """A UDP server that sends back what comes (RFC 862); yields its URL."""

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


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens, HOST:PORT; it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*held.getsockname())
