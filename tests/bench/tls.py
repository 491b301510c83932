"""TLS: a portal compared with a bare echo on trio's SSLStream; and what a connection costs.

``python -m tests.bench.tls NAME`` serves, and prints its port. Each server is a process of its own
on one core; what loads it, in Python, is on the other. So figures are per second of the server's
processor time.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import statistics
import sys
import time

import trio

from esps_portal import ServerConfig, serve
from esps_portal.net.tls_server import own_tls
from esps_portal.server.portal_tls import own_portal_tls
from tests.bench.aims import Aim, Report, ratio
from tests.bench.holding import memory_for_each
from tests.bench.machine import child, cpu_seconds, first_line, memory
from tests.bench.servers import start_portal

AIM = 0.8
#: KB that an idle connection of TLS costs beyond a plain one: OpenSSL's own is most of it.
MEMORY_AIM = 16.0
_CONNECTIONS = 64
_IDLE = 500
_REQUEST = b"a CALL echo x\n"


# ---- the servers -------------------------------------------------------------------------------


async def serve_portal() -> None:
    tls = own_portal_tls()
    try:
        async with trio.open_nursery() as nursery:
            listening = await nursery.start(serve, ServerConfig(port=0, udp=False, tls=tls))
            print(listening.tcp[0][1], flush=True)
    finally:
        tls.close()


async def serve_bare() -> None:
    """Echo on `trio.SSLStream`, a task for each connection."""
    tls = own_tls()

    async def echo(connected: trio.SocketStream) -> None:
        stream = trio.SSLStream(connected, tls.context, server_side=True)
        with contextlib.suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(data)

    try:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, echo, 0)
            print(listeners[0].socket.getsockname()[1], flush=True)
    finally:
        tls.close()


_SERVERS = {"portal": serve_portal, "bare": serve_bare}


# ---- the load ----------------------------------------------------------------------------------


def context() -> ssl.SSLContext:
    """Return what verifies nothing: that is no work of the server's."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    return trusting


def connect(stack: contextlib.ExitStack, port: int, *, greeted: bool) -> ssl.SSLSocket:
    """Return one connection; the stack closes it."""
    plain = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    sock = stack.enter_context(context().wrap_socket(plain))
    if greeted:
        sock.recv(200)
    return sock


def requests_per_cpu(port: int, pid: int, seconds: float, *, greeted: bool) -> float:
    """Return how many requests a server answers in a second of its processor time."""
    with contextlib.ExitStack() as stack:
        poll = stack.enter_context(select.epoll())
        socks = [connect(stack, port, greeted=greeted) for _ in range(_CONNECTIONS)]
        by_number = {sock.fileno(): sock for sock in socks}
        for number, sock in by_number.items():
            poll.register(number, select.EPOLLIN)
            sock.send(_REQUEST)
        answered, used, end = 0, cpu_seconds(pid), time.perf_counter() + seconds
        while time.perf_counter() < end:
            for number, _ in poll.poll():
                by_number[number].recv(200)
                by_number[number].send(_REQUEST)
                answered += 1
        return answered / (cpu_seconds(pid) - used)


def memory_of_tls(port: int, pid: int) -> float:
    """Return KB of resident memory for each of some idle connections."""
    with contextlib.ExitStack() as held:
        for _ in range(50):  # what is allocated once is not counted
            connect(held, port, greeted=True)
        before = memory(pid)
        for _ in range(_IDLE):
            connect(held, port, greeted=True)
        return (memory(pid) - before) / _IDLE


def report(seconds: float, repeat: int) -> Report:
    """Measure, and return the figures."""
    rates: dict[str, list[float]] = {name: [] for name in _SERVERS}
    with contextlib.ExitStack() as stack:
        started = {}
        for name in _SERVERS:
            command = (sys.executable, "-m", "tests.bench.tls", name)
            process = stack.enter_context(child(*command))
            started[name] = int(first_line(process)), process.pid
        for _ in range(repeat):
            for name, (port, pid) in started.items():
                rate = requests_per_cpu(port, pid, seconds, greeted=name == "portal")
                rates[name].append(rate)
        held = memory_of_tls(*started["portal"])
        plain = memory_for_each(start_portal(stack)[0], _IDLE)
    portal, bare = (statistics.median(rates[name]) for name in ("portal", "bare"))
    what = f"TLS CALL {_CONNECTIONS} x 1, beside trio's SSLStream"
    note = f"({portal:,.0f} and {bare:,.0f} per second of processor time)"
    return Report(
        aims=[
            Aim(what, ratio(portal, bare), AIM, note=note),
            Aim(
                "an idle connection of TLS, beyond a plain one",
                held - plain,
                MEMORY_AIM,
                "KB",
                is_limit=True,
                note=f"({held:.1f} - {plain:.1f})",
            ),
        ]
    )


if __name__ == "__main__":
    trio.run(_SERVERS[sys.argv[1]])
