"""Servers of line protocols in threads of the test, as a test's own upstream is."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator


class _Server(socketserver.ThreadingTCPServer):
    # With the usual 5 a busy machine drops a SYN, which is sent again after a second.
    request_queue_size = 1000
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def line_server(answer: Callable[[bytes], bytes], greeting: bytes = b"") -> Iterator[str]:
    """Answer each line of each client until its FIN; yield the URL for a proxy."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                self.wfile.write(greeting)
                for line in self.rfile:
                    self.wfile.write(answer(line))

    with _Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def counter() -> Callable[[bytes], bytes]:
    """Return what answers like redis: ``INCR`` counts, anything else gets its line back."""
    lock, count = threading.Lock(), 0

    def answer(line: bytes) -> bytes:
        nonlocal count
        if not line.startswith(b"INCR"):
            return line
        with lock:
            count += 1
            return b":%d\r\n" % count

    return answer


@contextlib.contextmanager
def datagram_server() -> Iterator[str]:
    """Send each datagram back; an empty one ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def run() -> None:
            while True:
                data, remote = sock.recvfrom(65536)
                if not data:
                    return
                sock.sendto(data, remote)

        thread = threading.Thread(target=run)
        thread.start()
        host, port = sock.getsockname()
        try:
            yield f"udp://{host}:{port}"
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"", (host, port))
            thread.join()
