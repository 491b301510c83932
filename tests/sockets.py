"""Plain sockets, as any client has them: what a fault makes of an answer is seen here."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs
import psutil
import pytest

from esps_portal.journal.records import RecordedConnection
from tests import patience
from tests.patience import PATIENCE

# Nothing that would come at once has come after it. Longer makes a test surer, and slower.
_A_WHILE = 0.03


class Tested(Protocol):
    """A portal or a proxy."""

    host: str
    port: int

    def connections(self) -> list[RecordedConnection]: ...

    def transcript(self) -> str: ...

    def problems(self) -> list[str]: ...


@attrs.define(eq=False)
class Client:
    """A TCP connection, blocking."""

    socket: socket.socket
    _held: bytearray = attrs.field(factory=bytearray)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> bytes:
        """Return what the next ``recv`` gives: a piece, ``b""`` for FIN; a RST raises."""
        return self._take(len(self._held)) or self.socket.recv(65536)

    def line(self) -> bytes:
        """Return the next line with its LF, or what there is of it before FIN."""
        while (end := self._held.find(b"\n")) < 0:
            data = self.socket.recv(65536)
            if not data:
                break
            self._held += data
        return self._take(end + 1 or len(self._held))

    def lines(self, count: int) -> list[bytes]:
        return [self.line() for _ in range(count)]

    def exactly(self, size: int) -> bytes:
        """Return so many of the next bytes, in however many pieces they come."""
        while len(self._held) < size:
            data = self.socket.recv(65536)
            assert data, self._held
            self._held += data
        return self._take(size)

    def rest(self) -> bytes:
        """Return everything until FIN."""
        while data := self.socket.recv(65536):
            self._held += data
        return self._take(len(self._held))

    def _take(self, size: int) -> bytes:
        """Return the first bytes that are held, and hold them no more."""
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def call(self, request: bytes) -> bytes:
        """Send a line and return the next one."""
        self.send(request + b"\n")
        return self.line()

    def assert_reset(self) -> None:
        """RST is the next that comes: there are no bytes before it."""
        with pytest.raises(ConnectionResetError):
            self.receive()

    def assert_silence(self) -> None:
        """Neither octets nor an end have come, and none come soon."""
        assert not self._held
        assert not select.select([self.socket], [], [], _A_WHILE)[0]


@contextlib.contextmanager
def connected(portal: Tested, *, greeted: bool = True) -> Iterator[Client]:
    """Connect over TCP; the greeting has been read unless it is not to be."""
    with socket.create_connection((portal.host, portal.port), PATIENCE) as sock:
        client = Client(sock)
        if greeted:
            assert client.line().startswith(b"* ESPS/1 ")
        yield client


@contextlib.contextmanager
def udp(portal: Tested, *, joined: bool = True) -> Iterator[socket.socket]:
    """A UDP socket, connected to the portal unless it is not to be."""
    family = socket.AF_INET6 if ":" in portal.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        if joined:
            sock.connect((portal.host, portal.port))
        yield sock


def ask_once(port: int, datagram: bytes) -> bytes:
    """Send a datagram to a port of 127.0.0.1, and return the reply.

    For tests that count requests: on a busy machine a client sends them again.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        return ask(sock, datagram)


def ask(sock: socket.socket, datagram: bytes) -> bytes:
    """Send a datagram and return the next that comes."""
    sock.send(datagram)
    return sock.recv(65536)


def assert_no_datagram(sock: socket.socket) -> None:
    """None has come, and none comes soon."""
    assert not select.select([sock], [], [], _A_WHILE)[0]


@attrs.define
class Elapsed:
    """How long a block took."""

    seconds: float = 0.0


@contextlib.contextmanager
def timed() -> Iterator[Elapsed]:
    """Measure a block."""
    elapsed = Elapsed()
    began = time.monotonic()
    yield elapsed
    elapsed.seconds = time.monotonic() - began


def until(done: Callable[[], object], portal: Tested) -> None:
    """Wait until something is true of the portal."""
    patience.until(done, portal.transcript)


def closed(portal: Tested) -> list[RecordedConnection]:
    """Return the connections once there are some, and all have ended.

    After its FIN a portal listens for a while.
    """

    def have_ended() -> bool:
        found = portal.connections()
        return bool(found) and all(each.closed is not None for each in found)

    until(have_ended, portal)
    return portal.connections()


def assert_all_struck(portal: Tested) -> None:
    """No test of a fault passes for nothing: each fault has struck, or is optional."""
    assert [text for text in portal.problems() if text.startswith("fault never struck")] == []


def open_connections(port: int) -> int:
    """Return how many connections this process has accepted on a port, and not closed."""
    sockets = psutil.Process().net_connections("tcp")
    return sum(found.laddr[1] == port and found.status != psutil.CONN_LISTEN for found in sockets)
