"""Servers of a few lines, each with a fault, in threads of the test."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator

GREETING = b"* ESPS/1 tiny/1\n"

#: What a server does with its socket at a QUIT, once it has answered.
Close = Callable[[socket.socket], None]


class _Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1000
    daemon_threads = True
    block_on_close = False


def answer(line: bytes) -> bytes:
    """Answer a request as an honest server does, which knows HELLO, LIST, PING and QUIT."""
    tag, verb, *args = line.rstrip(b"\r\n").split(b" ")
    if verb == b"HELLO":
        args = [b"ESPS/1", b"tiny/1"]
    if verb in (b"HELLO", b"LIST", b"PING", b"QUIT"):
        return b" ".join([tag, b"OK", *args]) + b"\n"
    return tag + b" ERR unknown-verb\n"


def discard_and_close(sock: socket.socket) -> None:
    """End a connection as section 6.5 says."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(1)
    with contextlib.suppress(OSError):
        while sock.recv(65536):
            pass


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextlib.contextmanager
def tiny_server(
    change: Callable[[bytes], bytes] = lambda reply: reply,
    greeting: bytes = GREETING,
    close: Close = discard_and_close,
) -> Iterator[str]:
    """Serve TCP; ``change`` is what it does to each reply. Yield the URL."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(greeting)
                for line in self.rfile:
                    self.wfile.write(change(answer(line)))
                    if line.endswith(b" QUIT\n"):
                        close(self.connection)
                        self.connection.close()
                        return

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"esps://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
