"""What a portal is compared with: minimal servers on trio, each in a process of its own.

``python -m tests.bench.baselines NAME`` serves on a free port and prints its number.
"""

from __future__ import annotations

import socket
import sys

import trio

from esps_portal import ServerConfig, serve
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.product import PRODUCT
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


async def serve_scripted() -> None:
    """Serve a portal as a test has it: with its journal on, and no stub and no fault."""
    async with trio.open_nursery() as nursery:
        portal = ScriptedPortal(builtin_portal(PRODUCT))
        listening = await nursery.start(serve, ServerConfig(portal=portal, port=0))
        print(listening.tcp[0][1], flush=True)


async def main(name: str) -> None:
    """Serve one of them."""
    if name == "udp-bare":
        await serve_datagrams(drained=False)
    elif name == "udp-drained":
        await serve_datagrams(drained=True)
    elif name == "scripted":
        await serve_scripted()
    else:
        await serve_stream({"echo": echo, "lines": lines}[name])


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
