"""What one TCP socket says of itself, and how it is reset from another thread."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import trio

from esps_portal.net.socket_stream import SocketStream
from tests.patience import PATIENCE


@contextlib.contextmanager
def pair() -> Iterator[tuple[SocketStream, socket.socket]]:
    """A server's stream, and the socket of its client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        accepted, _ = listener.accept()
    with client, accepted:
        yield SocketStream(accepted), client


async def until_input(stream: SocketStream) -> None:
    """Wait until something has come; ``has_input`` alone says when."""
    with trio.fail_after(PATIENCE):
        while not stream.has_input():
            await trio.lowlevel.checkpoint()


async def test_input_is_seen_and_stays() -> None:
    with pair() as (stream, client):
        assert not stream.has_input()
        client.send(b"ab")
        await until_input(stream)
        assert stream.has_input()
        assert await stream.receive() == b"ab"
        assert not stream.has_input()


async def test_fin_and_rst_are_input() -> None:
    with pair() as (stream, client):
        client.shutdown(socket.SHUT_WR)
        await until_input(stream)
        assert await stream.receive() == b""
    with pair() as (stream, client):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await until_input(stream)
        with pytest.raises(trio.BrokenResourceError):
            await stream.receive()


async def test_another_thread_resets_it() -> None:
    with pair() as (stream, client):
        thread = threading.Thread(target=stream.sever)
        thread.start()
        thread.join(PATIENCE)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        stream.close()  # the loop is stuck no more: it finds nothing to close
