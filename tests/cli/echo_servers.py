"""Servers of another protocol: each line, or datagram, gets ``OK`` and itself back."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator


class _Lines(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                self.wfile.write(b"OK " + line)


class _Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(b"OK " + data, self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


@contextlib.contextmanager
def echo_server(scheme: str = "tcp") -> Iterator[str]:
    """Serve on a free port of loopback; yield the URL."""
    address = ("127.0.0.1", 0)
    server: _Tcp | _Udp = _Tcp(address, _Lines) if scheme == "tcp" else _Udp(address, _Datagrams)
    with server:
        port = server.socket.getsockname()[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{scheme}://127.0.0.1:{port}"
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """Return the number of a port that was free just now, for a server that cannot take 0."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
