"""Servers to inspect: real sockets on free loopback ports, and what they send."""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.patience import PATIENCE

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
WILDCARD = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return an unused port that no other test gets from the kernel by binding port 0.

    The kernel chooses from 32768 upwards (ip_local_port_range), or from 49152.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # not random: workers share its seed
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as trial:
                    trial.bind(("0.0.0.0", port))
        except OSError:
            continue
        return port


@contextlib.contextmanager
def bound(
    kind: socket.SocketKind, family: socket.AddressFamily = socket.AF_INET, host: str | None = None
) -> Iterator[tuple[socket.socket, int]]:
    """Yield a socket on a free port, listening if it is TCP, and the port; it sends nothing."""
    if family == socket.AF_INET6 and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with socket.socket(family, kind) as ours:
        if family == socket.AF_INET6:
            ours.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        ours.bind((LOOPBACK[family] if host is None else host, 0))
        if kind == socket.SOCK_STREAM:
            ours.listen()
        yield ours, ours.getsockname()[1]


@contextlib.contextmanager
def tcp_server(
    talk: Callable[[socket.socket], object],
    family: socket.AddressFamily = socket.AF_INET,
    host: str | None = None,
) -> Iterator[int]:
    """Yield the port of a server that runs ``talk`` with its only connection, and closes it."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(PATIENCE)
                talk(connection)

    with bound(socket.SOCK_STREAM, family, host) as (listener, port):
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            with contextlib.suppress(OSError):  # wakes a pending accept
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def udp_server(
    reply: Callable[[bytes], bytes | None],
    family: socket.AddressFamily = socket.AF_INET,
    host: str | None = None,
) -> Iterator[int]:
    """Yield the port of a server that answers each datagram with what ``reply`` returns."""

    def serve() -> None:
        while True:
            datagram, peer = ours.recvfrom(2048)
            if datagram == b"stop":
                return
            answer = reply(datagram)
            if answer is not None:
                ours.sendto(answer, peer)

    with bound(socket.SOCK_DGRAM, family, host) as (ours, port):
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield port
        finally:
            with socket.socket(family, socket.SOCK_DGRAM) as other:
                other.sendto(b"stop", (LOOPBACK[family], port))
            thread.join()


def portal(connection: socket.socket) -> None:
    """Behave as a portal: greet, and answer every PING until the client closes."""
    connection.sendall(b"* ESPS/1 fake/1.0\n")
    answer_pings(connection)


def answer_pings(connection: socket.socket) -> None:
    with connection.makefile("rb") as lines:
        for line in lines:
            connection.sendall(pong(line) or b"")


def pong(line: bytes) -> bytes | None:
    """Return the reply to a PING."""
    tag, verb, argument = line.split()
    return b"%b OK %b\n" % (tag, argument) if verb == b"PING" else None


def until_closed(connection: socket.socket) -> None:
    """Read until the client closes."""
    while connection.recv(4096):
        pass
