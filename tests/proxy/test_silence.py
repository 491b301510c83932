"""A proxy that falls silent, as if the network were cut, at plain sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from esps_portal.testing import proxy_in_thread
from tests.patience import PATIENCE

# Seconds in which anything that could come over loopback would have come.
_A_WHILE = 0.2


def one_number() -> tuple[socket.socket, socket.socket]:
    """Return a listener of TCP and a socket of UDP on the same free number."""
    for _ in range(100):
        listener = socket.create_server(("127.0.0.1", 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(listener.getsockname())
        except OSError:  # somebody has that number over UDP
            listener.close()
            datagrams.close()
            continue
        return listener, datagrams
    pytest.fail("no number is free for TCP and UDP")


@pytest.fixture
def echo_port() -> Iterator[int]:
    """A server that sends back what it gets, over TCP and UDP on one number."""
    listener, datagrams = one_number()
    with listener, datagrams:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            connected, _ = listener.accept()
            with connected, contextlib.suppress(ConnectionError):  # the proxy may end with a RST
                connected.settimeout(PATIENCE)
                while data := connected.recv(65536):
                    connected.sendall(data)

        def serve_datagrams() -> None:
            while data := datagrams.recvfrom(65536):
                datagrams.sendto(*data)
                if data[0] == b"end":
                    return

        threads = [threading.Thread(target=target) for target in (serve, serve_datagrams)]
        for thread in threads:
            thread.start()
        yield listener.getsockname()[1]
        datagrams.sendto(b"end", datagrams.getsockname())
        for thread in threads:
            thread.join()


def test_what_is_open_stands_still_and_goes_on(echo_port: int) -> None:
    with (
        proxy_in_thread(f"tcp+udp://127.0.0.1:{echo_port}") as proxy,
        socket.create_connection((proxy.host, proxy.port), PATIENCE) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
    ):
        client.sendall(b"one")
        assert client.recv(100) == b"one"
        datagrams.connect((proxy.host, proxy.port))
        with proxy.down(how="silent"):
            client.sendall(b"two")
            datagrams.send(b"lost")
            for sock in (client, datagrams):
                sock.settimeout(_A_WHILE)
                with pytest.raises(TimeoutError):
                    sock.recv(100)
            with pytest.raises(TimeoutError):
                socket.create_connection((proxy.host, proxy.port), _A_WHILE)
        for sock in (client, datagrams):
            sock.settimeout(PATIENCE)
        assert client.recv(100) == b"two"
        datagrams.send(b"found")
        assert datagrams.recv(100) == b"found"
        assert [found.request for found in proxy.exchanges("two")] == [b"two"]


def test_an_unknown_way_to_be_down(echo_port: int) -> None:
    with (
        proxy_in_thread(f"tcp+udp://127.0.0.1:{echo_port}") as proxy,
        pytest.raises(ValueError, match="how must be 'refuse' or 'silent', got 'quiet'"),
    ):
        proxy.down(how="quiet")  # type: ignore[arg-type]
    socket.create_connection(("127.0.0.1", echo_port), PATIENCE).close()
