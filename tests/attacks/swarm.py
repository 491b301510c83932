"""Many hostile connections, which all do the same, in one loop.

What they do is a value, `Behaviour`: an attack is mostly a table of those.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Self

from tests.attacks.behaviour import Behaviour, End, Tally

_TCP_REPAIR = 19  # linux/tcp.h: a socket closed in this mode sends neither FIN nor RST
_WOULD_BLOCK = {errno.EAGAIN, errno.EINPROGRESS, errno.EALREADY}
_ADDRESSES = 250  # of 127.0.0.0/8; each has 28,000 ports to connect from
_AT_A_TIME = 64  # new connections between two looks at the others
_UNGREETED = 1000  # connections that the server has not spoken on: its queue has 4096 places
_SLICE = 0.05  # seconds between two looks at the clock


class _Connection:
    __slots__ = ("at", "awaits_greeting", "behaviour", "connected", "seen", "socket", "to_send")

    def __init__(self, sock: socket.socket, behaviour: Behaviour) -> None:
        self.socket = sock
        self.behaviour = behaviour
        self.connected = False
        self.to_send = behaviour.first
        self.at = 0  # in `Behaviour.again`
        self.seen = b""  # the end of what came
        self.awaits_greeting = bool(behaviour.reads and not behaviour.read_pause)

    @property
    def events(self) -> int:
        behaviour = self.behaviour
        floods = bool(behaviour.again) and not behaviour.pause
        wants_to_send = not self.connected or self.to_send or floods
        reads = behaviour.reads and not behaviour.read_pause
        return (select.EPOLLIN if reads else 0) | (select.EPOLLOUT if wants_to_send else 0)


class Swarm:
    """Hostile connections to one port of loopback.

    Args:
        behaviours: what they do, in turns.
        count: how many there are at a time.
        most: how many there are in all, where they return; `None`: no limit.
        address: where they come from; by default from many addresses, for one has too few ports.
    """

    def __init__(
        self,
        port: int,
        behaviours: Iterable[Behaviour],
        count: int,
        *,
        most: int | None = None,
        address: str = "",
    ) -> None:
        self._port = port
        self._behaviours = list(behaviours)
        self._missing = count
        self._ungreeted = 0
        self._left = count if most is None and not self._returns else most
        self._address = address
        self._begun = 0
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._blocks = {b: _block(b.again) for b in self._behaviours}
        self._next = dict.fromkeys((b for b in self._behaviours if b.pause or b.read_pause), 0.0)
        self.tally = Tally()

    @property
    def _returns(self) -> bool:
        return any(b.returns for b in self._behaviours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        for connection in list(self._open.values()):
            self._drop(connection, "reset")
        self._epoll.close()
        if error is None and not self.tally.opened:
            raise RuntimeError("no hostile client has connected: nothing was attacked")

    @property
    def count(self) -> int:
        """How many are open now."""
        return len(self._open)

    def run(self, seconds: float, *, until: Callable[[], object] = lambda: False) -> None:
        """Do what they do, for some seconds, or until something holds, or none is left."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self._fill()
            if not self._open and not self._may_open:
                return
            for number, events in self._epoll.poll(_SLICE):
                if connection := self._open.get(number):
                    self._serve(connection, events)
            self._do_what_is_paced()

    @property
    def is_open(self) -> bool:
        """Whether all are connected, and the server has spoken on each."""
        return not self._may_open and not self._ungreeted

    @property
    def _may_open(self) -> bool:
        """Whether some are still to be opened."""
        return self._missing > 0 and (self._left is None or self._left > 0)

    def _fill(self) -> None:
        for _ in range(_AT_A_TIME):
            if not self._may_open or self._ungreeted >= _UNGREETED:
                return
            self._missing -= 1
            if self._left is not None:
                self._left -= 1
            self._connect(self._behaviours[self._begun % len(self._behaviours)])

    def _connect(self, behaviour: Behaviour) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if behaviour.buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, behaviour.buffer)
        self._begun += 1
        sock.bind((self._address or f"127.0.1.{1 + self._begun % _ADDRESSES}", 0))
        connection = _Connection(sock, behaviour)
        self._open[sock.fileno()] = connection
        self._ungreeted += connection.awaits_greeting
        self._epoll.register(sock.fileno(), select.EPOLLOUT)
        if sock.connect_ex(("127.0.0.1", self._port)) not in (0, *_WOULD_BLOCK):
            self.tally.refused += 1
            self._over(connection)

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if not connection.connected:
                self._begin(connection)
            elif events & (select.EPOLLERR | select.EPOLLHUP) and not connection.behaviour.reads:
                self._ended_by_server(connection)
                return
            if events & select.EPOLLOUT and not self._send(connection):
                return
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(connection)
        except OSError as error:
            if error.errno in _WOULD_BLOCK:
                return
            if connection.connected:
                self._ended_by_server(connection)
            else:
                self.tally.refused += 1
                self._over(connection)

    def _begin(self, connection: _Connection) -> None:
        if error := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connect")
        connection.connected = True
        self.tally.opened += 1
        self.tally.most = max(self.tally.most, len(self._open))

    def _send(self, connection: _Connection) -> bool:
        """Send what there is; return whether the connection is still open."""
        behaviour = connection.behaviour
        if connection.to_send:
            size = connection.socket.send(connection.to_send)
            connection.to_send = connection.to_send[size:]
            self.tally.sent += size
        elif behaviour.again and not behaviour.pause:
            self._send_again(connection, 65536)
        if not connection.to_send:
            if behaviour.half_closes and not behaviour.again:
                connection.socket.shutdown(socket.SHUT_WR)
            if behaviour.until == b"":
                self._drop(connection, behaviour.end)
                self._over(connection)
                return False
        self._epoll.modify(connection.socket.fileno(), connection.events)
        return True

    def _send_again(self, connection: _Connection, size: int) -> None:
        block = self._blocks[connection.behaviour]
        size = connection.socket.send(block[connection.at : connection.at + size])
        connection.at = (connection.at + size) % len(block)
        self.tally.sent += size

    def _read(self, connection: _Connection) -> None:
        behaviour = connection.behaviour
        data = connection.socket.recv(behaviour.reads)
        if not data:
            self._ended_by_server(connection)
            return
        self.tally.received += len(data)
        self.tally.lines += data.count(b"\n")
        self._greeted(connection)
        connection.seen = (connection.seen + data)[-100:]
        if behaviour.until and behaviour.until in connection.seen:
            self._drop(connection, behaviour.end)
            self._over(connection)

    def _greeted(self, connection: _Connection) -> None:
        self._ungreeted -= connection.awaits_greeting
        connection.awaits_greeting = False

    def _do_what_is_paced(self) -> None:
        now = time.monotonic()
        due = {b for b, at in self._next.items() if at <= now}
        for behaviour in due:
            self._next[behaviour] = now + (behaviour.pause or behaviour.read_pause)
        for connection in [c for c in self._open.values() if c.behaviour in due and c.connected]:
            behaviour = connection.behaviour
            try:
                if behaviour.pause:
                    self._send_again(connection, behaviour.piece)
                if behaviour.read_pause:
                    self._read(connection)
            except OSError as error:
                if error.errno not in _WOULD_BLOCK:
                    self._ended_by_server(connection)

    def _ended_by_server(self, connection: _Connection) -> None:
        self.tally.ended += 1
        lines = connection.seen.rstrip(b"\n").rpartition(b"\n")[2]
        self.tally.last[lines[:40].decode("ascii", "replace")] += 1
        self._over(connection)

    def _over(self, connection: _Connection) -> None:
        self._drop(connection, "close")
        if connection.behaviour.returns:
            self._missing += 1

    def _drop(self, connection: _Connection, end: End) -> None:
        sock = connection.socket
        if self._open.pop(sock.fileno(), None) is None:
            return
        self._greeted(connection)
        self._epoll.unregister(sock.fileno())
        with contextlib.suppress(OSError):
            if end == "reset":
                # Linger is on, and lasts 0 s: close(2) sends RST.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            elif end == "vanish":
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        sock.close()


def can_vanish() -> bool:
    """Return whether a connection may end without a packet: it needs CAP_NET_ADMIN."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
        except OSError:
            return False
    return True


def _block(line: bytes) -> bytes:
    """Repeat whole lines up to 64 KiB at least, to be sent over and over."""
    return line * (1 + 65536 // len(line)) if line else b""
