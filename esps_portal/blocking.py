"""The client without trio: plain sockets, over the same protocol core.

For programs and tests that are not asynchronous. A portal from here belongs to one thread at a
time. Every wait is bounded by a time-out in seconds, given to `connect` or to the call: `math.inf`
is no bound, and 0 or less is time that is spent already, as what is left of a deadline may be.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import random
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import copy
from typing import Self, TypeVar

from esps_portal.client.host_socket import HostSocket
from esps_portal.protocol.client_connection import ClientConnection, PendingRequest
from esps_portal.protocol.errors import (
    EspsError,
    PeerError,
    ProtocolError,
    TimedOutError,
    UnreachableError,
)
from esps_portal.protocol.retransmission import Retransmission, padded_length
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Value = TypeVar("_Value")

_READ_SIZE = 65536
# Seconds after which a client that was not greeted speaks first, as that on trio does.
GREETING_DUE = 0.5
# Seconds; a socket cannot count much further, and nobody can wait for longer.
_LONGEST = 1e9


class _Block(AbstractContextManager[_Value, None]):
    """What a ``with`` statement begins and ends, with the value between.

    As `contextlib.contextmanager`, but for its frames, which a failing test's traceback hides.
    """

    def __init__(self, begin: Callable[[], _Value], end: Callable[[_Value], None]) -> None:
        self._begin = begin
        self._end = end
        self._values: list[_Value] = []

    def __enter__(self) -> _Value:
        self._values.append(self._begin())
        return self._values[-1]

    def __exit__(self, *_: object) -> None:
        self._end(self._values.pop())


class DataStream:
    """The DATA lines of a running call, as they arrive. Iterate over it once, within the block.

    Attributes:
        result: the arguments of the final OK; empty until the iteration has ended.
    """

    def __init__(self, pending: PendingRequest, receive: Callable[[], None]) -> None:
        self._pending = pending
        self._receive = receive
        self._has_ended = False
        self.result: tuple[bytes, ...] = ()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[bytes, ...]:
        if self._has_ended:
            raise RuntimeError("the stream has ended: its `with` block is over")
        while not self._pending.has_news:
            self._receive()
        if self._pending.rows:
            return self._pending.collect()
        self.result = self._pending.result()
        raise StopIteration

    def end(self) -> PendingRequest:
        """The block is over: nothing more is to be had. Returns the call."""
        self._has_ended = True
        return self._pending


class _Peer:
    """What the two transports have in common."""

    _socket: socket.socket | HostSocket

    def __init__(self, requester: ClientConnection, timeout: float) -> None:
        self._requester = requester
        self._timeout = timeout

    def call(
        self, service: str, *args: str | bytes, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """Call a service and return the arguments of its OK; DATA lines are dropped."""
        return self._ask(b"CALL", (service, *args), timeout)

    def ping(self, *args: str | bytes, timeout: float | None = None) -> tuple[bytes, ...]:
        """Return what the portal sends back: the same arguments."""
        return self._ask(b"PING", args, timeout)

    def services(self, *, timeout: float | None = None) -> list[str]:
        """Return the names of the services that are offered."""
        return [name.decode() for name in self._ask(b"LIST", (), timeout)]

    def describe(self, service: str, *, timeout: float | None = None) -> tuple[bytes, ...]:
        """Return what LIST says of a service: name, flags, usage, summary."""
        return self._ask(b"LIST", (service,), timeout)

    def stream(
        self, service: str, *args: str | bytes, timeout: float | None = None
    ) -> AbstractContextManager[DataStream, None]:
        """Call a service and yield its DATA lines as they arrive.

        ``with portal.stream("drip", "3", "10") as rows: for row in rows: ...``
        Leaving the block early cancels the call.

        Args:
            timeout: seconds for the whole call.
        """

        def begin() -> DataStream:
            deadline = self._deadline(timeout)
            pending = self._begin(b"CALL", (service, *args), deadline)
            return DataStream(pending, lambda: self._receive(pending, deadline))

        def end(rows: DataStream) -> None:
            self._finish(rows.end())

        return _Block(begin, end)

    def _ask(
        self, verb: bytes, args: tuple[str | bytes, ...], timeout: float | None
    ) -> tuple[bytes, ...]:
        deadline = self._deadline(timeout)
        pending = self._begin(verb, args, deadline)
        try:
            while not pending.is_over:
                pending.discard_rows()
                self._receive(pending, deadline)
        finally:
            self._finish(pending)
        return pending.result()

    def _begin(self, verb: bytes, args: tuple[str | bytes, ...], deadline: float) -> PendingRequest:
        pending = self._requester.ask(verb, args)
        try:
            self._start(pending, deadline)
        except BaseException:
            self._requester.forget(pending)
            raise
        return pending

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self._timeout if timeout is None else _checked(timeout))

    def _wait_until(self, deadline: float) -> None:
        """Let the next socket operation take until ``deadline``."""
        self._socket.settimeout(_bounded(deadline - _now_before(deadline)))

    def _start(self, pending: PendingRequest, deadline: float) -> None:
        raise NotImplementedError

    def _receive(self, pending: PendingRequest, deadline: float) -> None:
        raise NotImplementedError

    def _finish(self, pending: PendingRequest) -> None:
        self._requester.forget(pending)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class TCPPortal(_Peer):
    """A portal over TCP."""

    _socket: socket.socket

    def __init__(self, connected: socket.socket, timeout: float) -> None:
        numbers = itertools.count(1)
        super().__init__(ClientConnection(lambda: b"c%d" % next(numbers)), timeout)
        self._socket = connected
        self._lost: EspsError | None = None

    def greeted(self, deadline: float) -> None:
        """Wait for the greeting.

        A server that waits for its client (HTTP, TLS) is known by what it says of a HELLO. A portal
        that is slow greets, then answers it [ESPS-TCP-3].
        """
        due = min(deadline, time.monotonic() + GREETING_DUE)
        try:
            self._wait_for_greeting(due)
        except TimedOutError:
            if self._lost is not None or due == deadline:
                raise
            hello = self._begin(b"HELLO", ("ESPS/1",), deadline)
            self._requester.forget(hello)
            self._wait_for_greeting(deadline)

    def _wait_for_greeting(self, deadline: float) -> None:
        while self._requester.product is None:
            self._receive(None, deadline)

    def _start(self, pending: PendingRequest, deadline: float) -> None:
        if self._lost is not None:
            raise copy(self._lost)
        self._send(pending.request.encode(), deadline)

    def _send(self, data: bytes, deadline: float) -> None:
        """Send at most one line, which the kernel's buffers hold even if the portal is slow."""
        self._wait_until(deadline)
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            # Half a line may be out: nothing can follow it.
            raise self._lose(TimedOutError("the portal takes nothing")) from error
        except OSError as error:
            raise self._lose(PeerError(f"cannot send: {error.strerror}")) from error
        except BaseException:  # Ctrl-C, say: the same
            self._lose(PeerError("a request was interrupted while it was sent"))
            raise

    def _receive(self, pending: PendingRequest | None, deadline: float) -> None:  # noqa: ARG002 - UDP needs it
        self._wait_until(deadline)
        try:
            data = self._socket.recv(_READ_SIZE)
        except TimeoutError as error:
            raise TimedOutError("no answer in time") from error
        except OSError as error:
            raise self._lose(PeerError(f"the portal reset: {error.strerror}")) from error
        if not data:
            raise self._lose(self._requester.ended())
        try:
            self._requester.receive_stream_untrusted(data)
        except ProtocolError as error:
            raise self._lose(self._requester.peer_error(error)) from error

    def _finish(self, pending: PendingRequest) -> None:
        super()._finish(pending)
        if pending.final is None and self._lost is None:
            with contextlib.suppress(EspsError):
                self._send(self._requester.cancellation(pending), time.monotonic() + 1)

    def _lose(self, error: EspsError) -> EspsError:
        self._lost = self._lost or error
        return error

    def close(self) -> None:
        """Say QUIT, and close."""
        if self._lost is None:
            with contextlib.suppress(EspsError):
                self._send(b"q QUIT\n", time.monotonic() + 1)
        super().close()


class UDPPortal(_Peer):
    """A portal over UDP: requests are sent again until they are answered."""

    _socket: HostSocket

    def __init__(self, connected: HostSocket, timeout: float, schedule: Retransmission) -> None:
        super().__init__(ClientConnection(lambda: secrets.token_hex(8).encode()), timeout)
        self._socket = connected
        self._schedule = schedule
        self._datagram = b""
        self._waits: Iterator[float] = iter(())
        self._next = 0.0

    def _start(self, pending: PendingRequest, deadline: float) -> None:  # noqa: ARG002 - TCP needs it
        self._transmit(pending.request.encode())

    def _transmit(self, datagram: bytes) -> None:
        self._datagram = datagram
        self._waits = self._schedule.waits(random.random())  # noqa: S311 - jitter, no secret
        self._put()

    def _put(self) -> None:
        wait = next(self._waits, None)
        if wait is None:
            count = self._schedule.max_retransmit + 1
            raise TimedOutError(f"no answer to {count} datagrams", self._requester.rejected)
        self._next = time.monotonic() + wait
        self._send()

    def _send(self) -> None:
        try:
            self._socket.send(self._datagram)
        except OSError as error:
            if not self._socket.move_on(error):
                raise UnreachableError(f"cannot send: {error.strerror}") from error
            self._send()

    def _receive(self, pending: PendingRequest, deadline: float) -> None:
        now = _now_before(deadline, self._requester.rejected)
        if self._next <= now:
            self._put()
        self._socket.settimeout(_bounded(min(deadline, self._next) - now))
        try:
            self._requester.receive_datagram_untrusted(self._socket.receive(_READ_SIZE))
        except TimeoutError:
            return
        except OSError as error:
            if not self._socket.move_on(error):
                raise UnreachableError(f"nobody listens there: {error.strerror}") from error
            self._send()
            return
        length = padded_length(pending, len(self._datagram))
        if length is not None:
            self._requester.resume(pending)
            self._transmit(pending.request.encode(length))


def connect(
    url: str = "esps://127.0.0.1", *, timeout: float = 10.0
) -> AbstractContextManager[TCPPortal | UDPPortal, None]:
    """Connect to a portal for the length of a ``with`` block.

    Args:
        url: ``esps://host[:port]`` for TCP, ``esps+udp://`` for UDP; without a scheme
            (``"localhost:2867"``) it means TCP.
        timeout: seconds that connecting, and each call that names none, may take.

    Raises:
        ValueError: the URL is malformed.
        TypeError: the time-out is no number.
        UnreachableError, ClosedError, PeerError, TimedOutError: as each says.
    """
    return _Block(lambda: _connected(url, timeout), lambda portal: portal.close())


def _connected(url: str, timeout: float) -> TCPPortal | UDPPortal:
    where = PortalURL.parse(url)
    if where.transport == "tls":
        raise UnreachableError("esps+tls:// is not available in this release: use esps://")
    deadline = time.monotonic() + _checked(timeout)
    portal: TCPPortal | UDPPortal
    try:
        portal = (_connect_udp if where.transport == "udp" else _connect_tcp)(where, timeout)
    except ConnectionResetError as error:
        # Accepted and reset at once: it may be so quick that connecting has yet to return.
        raise PeerError(f"the portal reset: {error.strerror}") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnreachableError(f"cannot connect to {where}: {reason}") from error
    if isinstance(portal, TCPPortal):
        try:
            portal.greeted(deadline)
        except BaseException:
            portal.close()
            raise
    return portal


def _connect_tcp(where: PortalURL, timeout: float) -> TCPPortal:
    if timeout <= 0:
        raise TimedOutError("no time to connect")
    address = (where.host, where.port)
    return TCPPortal(socket.create_connection(address, _bounded(timeout)), timeout)


def _connect_udp(where: PortalURL, timeout: float) -> UDPPortal:
    connected = HostSocket(socket.getaddrinfo(where.host, where.port, type=socket.SOCK_DGRAM))
    return UDPPortal(connected, timeout, Retransmission.for_host(connected.address))


def _checked(timeout: object) -> float:
    """Return a time-out.

    Raises:
        TypeError, ValueError: it is no number.
    """
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout is a number of seconds, math.inf for no bound, not {timeout!r}")
    if math.isnan(timeout):
        raise ValueError("timeout is a number of seconds, not nan")
    return timeout


def _bounded(seconds: float) -> float | None:
    """Return the time-out for a socket."""
    return None if seconds > _LONGEST else seconds


def _now_before(deadline: float, received: bytes = b"") -> float:
    """Return the time.

    Raises:
        TimedOutError: the deadline has passed; it carries ``received``.
    """
    now = time.monotonic()
    if now >= deadline:
        raise TimedOutError("no answer in time", received)
    return now
