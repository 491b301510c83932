"""What a portal is compared with: minimal servers on trio and asyncio, each a process.

``python -m tests.bench.baselines NAME`` serves on a free port and prints its number.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from itertools import repeat, starmap

import trio

from esps_portal import ServerConfig, serve
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.product import PRODUCT
from esps_portal.protocol.grammar import FIND_PLAIN_DATAGRAMS
from esps_portal.services.builtin_portal import builtin_portal


async def echo(stream: trio.SocketStream) -> None:
    """Answer with what has come: the bare stream."""
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        return


async def lines(stream: trio.SocketStream) -> None:
    """Split, compare, join, one send: a line server without any of the checks."""
    rest = b""
    try:
        async for data in stream:
            *whole, rest = (rest + data).split(b"\n")
            answers = []
            for line in whole:
                tag, verb, *args = line.split(b" ")
                if verb == b"PING":
                    answers.append(b" ".join((tag, b"OK", *args)))
                elif verb == b"CALL" and args[0] == b"echo":
                    answers.append(b" ".join((tag, b"OK", *args[1:])))
                else:
                    answers.append(tag + b" ERR unknown-verb")
            answers.append(b"")
            await stream.send_all(b"\n".join(answers))
    except trio.BrokenResourceError:
        return


async def serve_stream(handler: object) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, handler, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)


async def serve_nested() -> None:
    """Echo streams in one task, on an epoll of our own that is nested in trio's."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    print(listener.getsockname()[1], flush=True)
    ready = select.epoll()
    ready.register(listener, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        await trio.lowlevel.wait_readable(ready.fileno())
        for descriptor, _ in ready.poll(0, 256):
            if descriptor == listener.fileno():
                connected = listener.accept()[0]
                connected.setblocking(False)  # noqa: FBT003 - the same
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[connected.fileno()] = connected
                ready.register(connected, select.EPOLLIN)
            elif not _echo_once(connections[descriptor]):
                ready.unregister(descriptor)
                connections.pop(descriptor).close()


def _echo_once(connected: socket.socket) -> bool:
    """Answer what has come; return whether the connection goes on."""
    try:
        data = connected.recv(65536)
        connected.send(data)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return bool(data)


class EchoProtocol(asyncio.Protocol):
    """The bare protocol of asyncio."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


async def serve_asyncio() -> None:
    server = await asyncio.get_running_loop().create_server(EchoProtocol, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_datagrams(*, drained: bool) -> None:
    """Echo datagrams: one for each wake-up, or all that wait."""
    if not drained:
        bare = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        await bare.bind(("127.0.0.1", 0))
        print(bare.getsockname()[1], flush=True)
        while True:
            data, source = await bare.recvfrom(65535)
            await bare.sendto(data, source)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        print(sock.getsockname()[1], flush=True)
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                while True:
                    data, source = sock.recvfrom(65535)
                    sock.sendto(data, source)
            except BlockingIOError:
                continue


async def serve_datagram_lines() -> None:
    """Do what a portal cannot do without: read all, find, call, join, send all; no other check."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)  # noqa: FBT003 - the same
        print(sock.getsockname()[1], flush=True)
        while True:
            await trio.lowlevel.wait_readable(sock)
            while waiting := _all_waiting(sock):
                data, sources = zip(*waiting, strict=True)
                deque(map(sock.sendto, _replies(data), sources), maxlen=0)


def _all_waiting(sock: socket.socket) -> list[tuple[bytes, object]]:
    waiting: list[tuple[bytes, object]] = []
    with contextlib.suppress(BlockingIOError):
        waiting.extend(starmap(sock.recvfrom, repeat((65535,), 64)))
    return waiting


def _replies(datagrams: Iterable[bytes]) -> list[bytes]:
    replies = []
    for tag, name, tokens, _, _ in FIND_PLAIN_DATAGRAMS.findall(b"\0".join((*datagrams, b""))):
        args = tuple(tokens.split()) if name else None
        if args is None or _SERVICES[name](*args) == args:
            replies.append(b"".join((tag, b" OK", tokens, b"\n")))
    return replies


_SERVICES: dict[bytes, Callable[..., tuple[bytes, ...]]] = {b"echo": lambda *args: args}


async def serve_scripted() -> None:
    """Serve a portal as a test has it: with its journal on, and no stub and no fault."""
    async with trio.open_nursery() as nursery:
        portal = ScriptedPortal(builtin_portal(PRODUCT))
        listening = await nursery.start(serve, ServerConfig(portal=portal, port=0))
        print(listening.tcp[0][1], flush=True)


SERVERS: dict[str, Callable[[], Awaitable[None]]] = {
    "echo": partial(serve_stream, echo),
    "echo-nested": serve_nested,
    "lines": partial(serve_stream, lines),
    "udp-bare": partial(serve_datagrams, drained=False),
    "udp-drained": partial(serve_datagrams, drained=True),
    "udp-lines": serve_datagram_lines,
    "scripted": serve_scripted,
}


def main(name: str) -> None:
    """Serve one of them."""
    if name == "echo-asyncio":
        asyncio.run(serve_asyncio())
    else:
        trio.run(SERVERS[name])


if __name__ == "__main__":
    main(sys.argv[1])
