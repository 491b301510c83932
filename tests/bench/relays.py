"""A proxy compared with a bare relay of two pumps on trio, in one run.

``python -m tests.bench.relays NAME PORT`` relays to a port, and prints its own. Each relay is a
process of its own on one core; what speaks through it is on the other. Figures are per second of
the relay's processor time, so that other load on the machine changes none of them much.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import statistics
import subprocess
import sys
import threading
from pathlib import Path

import attrs
import trio

from esps_portal.faults.fault import Fault
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from tests.bench.aims import Aim, Report
from tests.bench.machine import child, cpu_seconds, first_line

#: The least share of the bare relay's figure, as the project aims: bulk, and 64 connections.
AIMS = {"proxy": (0.7, 0.8), "proxy with a fault": (0.6, 0.6)}
_NAMES = ("bare", *AIMS)
_BULK = 256 << 20
_INTACT = 1 << 30


# ---- the relays --------------------------------------------------------------------------------


async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    """Pass on one direction, and its FIN."""
    with contextlib.suppress(trio.BrokenResourceError):
        async for data in source:
            await sink.send_all(data)
        await sink.send_eof()


async def serve_bare(port: int) -> None:
    """Relay with two pumps for each connection."""

    async def relay(client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", port)
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, relay, 0)
        print(listeners[0].socket.getsockname()[1], flush=True)


async def serve_proxied(port: int, *, has_fault: bool) -> None:
    """Relay with a proxy."""
    state = ProxyState(Upstream("tcp", "127.0.0.1", port))
    if has_fault:
        state.faults.place(Fault.create("reset", match=b"nobody says this"))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve_proxy, ProxyConfig(state=state, port=0))
        print(listeners.tcp[0][1], flush=True)


async def main(name: str, port: int) -> None:
    """Serve one of them."""
    if name == "bare":
        await serve_bare(port)
    else:
        await serve_proxied(port, has_fault=name != "proxy")


# ---- what speaks through them ------------------------------------------------------------------


@attrs.frozen
class Relay:
    """A running relay."""

    port: int
    pid: int

    def cpu(self) -> float:
        """Return the processor time that it has taken, in seconds."""
        return cpu_seconds(self.pid)


def bulk(relay: Relay, sink: socket.socket) -> float:
    """Return MB per second of processor time, one way."""
    before = relay.cpu()
    with socket.create_connection(("127.0.0.1", relay.port)) as client, sink.accept()[0] as server:
        sender = threading.Thread(target=_send, args=(client,))
        sender.start()
        while server.recv(1 << 20):
            pass
        sender.join()
    return _BULK / 1e6 / (relay.cpu() - before)


def _send(client: socket.socket) -> None:
    block = bytes(1 << 20)
    for _ in range(_BULK >> 20):
        client.sendall(block)
    client.shutdown(socket.SHUT_WR)


def check_intact(relay: Relay, sink: socket.socket) -> str:
    """Send 1 GiB each way at once, and compare what arrives; return a line for a terminal."""
    with socket.create_connection(("127.0.0.1", relay.port)) as client, sink.accept()[0] as server:
        sent: dict[str, str] = {}
        received: dict[str, str] = {}

        def send(name: str, sock: socket.socket) -> None:
            block, digest = bytearray(os.urandom(1 << 20)), hashlib.blake2b()
            for number in range(_INTACT >> 20):
                block[:8] = number.to_bytes(8, "big")
                digest.update(block)
                sock.sendall(block)
            sock.shutdown(socket.SHUT_WR)
            sent[name] = digest.hexdigest()

        def receive(name: str, sock: socket.socket) -> None:
            digest = hashlib.blake2b()
            while data := sock.recv(1 << 20):
                digest.update(data)
            received[name] = digest.hexdigest()

        pairs = [("up", client, server), ("down", server, client)]
        threads = [threading.Thread(target=send, args=(name, one)) for name, one, _ in pairs]
        threads += [threading.Thread(target=receive, args=(name, two)) for name, _, two in pairs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return f"1 GiB each way at once: {'intact' if sent == received else 'NOT INTACT'}"


def turns(relay: Relay, program: Path, seconds: float) -> float:
    """Return requests per second of processor time, from 64 connections with one each."""
    before = relay.cpu()
    command = [program, "tcp", "127.0.0.1", relay.port, 64, 1, seconds, "PING", 0]
    ran = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
    return float(ran.stdout.split()[0]) * seconds / (relay.cpu() - before)


def report(program: Path, seconds: float, repeat: int) -> Report:
    """Measure, and return lines for a terminal and the ratios."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in _NAMES}
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        echo = _start(stack, "tests.bench.baselines", "echo")
        to_sink = [_start(stack, __name__, name, sink.getsockname()[1]) for name in _NAMES]
        to_echo = [_start(stack, __name__, name, echo.port) for name in _NAMES]
        for _ in range(repeat):
            for name, one, other in zip(_NAMES, to_sink, to_echo, strict=True):
                found[name].append((bulk(one, sink), turns(other, program, seconds)))
        lines = [
            f"{name:<18} {check_intact(one, sink)}"
            for name, one in zip(_NAMES[1:], to_sink[1:], strict=True)
        ]
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    lines += [
        f"{name:<18} {megabytes:.0f} MB, {requests / 1000:.1f} k requests per CPU second"
        for name, (megabytes, requests) in medians.items()
    ]
    aims = [
        Aim(f"{name}, {what}, beside a bare relay", figure / bare, aim)
        for name in AIMS
        for what, figure, bare, aim in zip(
            ("bulk", "requests"), medians[name], medians["bare"], AIMS[name], strict=True
        )
    ]
    return Report(lines, aims)


def _start(stack: contextlib.ExitStack, module: str, *arguments: object) -> Relay:
    process = stack.enter_context(child(sys.executable, "-m", module, *arguments))
    return Relay(int(first_line(process)), process.pid)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
