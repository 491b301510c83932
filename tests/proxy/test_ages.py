"""Faults at an age of a relayed connection, and a client that is never read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from esps_portal.testing import ProxyController, proxy_in_thread
from tests.patience import PATIENCE


@pytest.fixture
def proxy() -> Iterator[ProxyController]:
    """A proxy before a server that sends back what it gets, one connection after another."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                connected, _ = listener.accept()
                with connected:
                    try:
                        while data := connected.recv(65536):
                            connected.sendall(data)
                            if data == b"end":
                                return
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        with proxy_in_thread(f"tcp://127.0.0.1:{listener.getsockname()[1]}") as started:
            yield started
        with socket.create_connection(listener.getsockname(), PATIENCE) as last:
            last.sendall(b"end")
            thread.join()


def connected(proxy: ProxyController) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), PATIENCE)


def test_an_idle_connection_is_reset_at_its_age(proxy: ProxyController) -> None:
    fault = proxy.fault("reset", age=0.1)
    with connected(proxy) as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    assert fault.happened == 1


def test_one_that_is_older_already_is_ended_at_once(proxy: ProxyController) -> None:
    with connected(proxy) as client:
        client.sendall(b"hi")
        assert client.recv(10) == b"hi"
        fault = proxy.fault("close", age=0)
        assert client.recv(1) == b""
    assert fault.happened == 1


def test_only_an_exchange_of_an_old_connection_is_struck(proxy: ProxyController) -> None:
    with connected(proxy) as client:
        fault = proxy.fault("patch", at=0, hex="78", match=b"hi", age=0.2)
        for _ in range(100_000):
            client.sendall(b"hi")
            reply = client.recv(10)
            if reply == b"xi":
                break
            assert reply == b"hi"
        assert fault.happened == 1


def test_a_whole_connection_is_struck_once_it_is_old(proxy: ProxyController) -> None:
    with connected(proxy) as client:
        proxy.fault("truncate", bytes=3, unit="connection", age=0.2)
        passed = 0
        for _ in range(100_000):
            client.sendall(b"hi")
            reply = client.recv(10)
            passed += len(reply)
            if not reply:
                break
        assert passed > 3


def test_a_client_that_is_never_read_blocks(proxy: ProxyController) -> None:
    fault = proxy.fault("deaf")
    with connected(proxy) as client:
        client.sendall(b"hi")
        assert client.recv(10) == b"hi"
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sendall(b"x" * (8 << 20))
    assert fault.happened == 1
