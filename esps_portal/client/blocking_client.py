"""What a blocking client offers, over TCP and over UDP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

from esps_portal.client.deadline import check_timeout
from esps_portal.client.errors import CLIENT_CLOSED
from esps_portal.clock import monotonic
from esps_portal.exports import public_names
from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import WithBlock

__tracebackhide__ = hides_frame


class BlockingDataStream:
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
        while not self._pending.is_ready:
            self._receive()
        if self._pending.rows:
            return self._pending.collect()
        self.result = self._pending.result()
        raise StopIteration

    def end(self) -> PendingRequest:
        """End the iteration: the block is over. Returns the call."""
        self._has_ended = True
        return self._pending

    def __dir__(self) -> list[str]:
        return public_names(self)


class BlockingClient(ABC):
    """A portal to call, from one thread at a time. Made by `esps_portal.blocking.connect`.

    Each method may raise `ReplyError` (the portal answered ERR), `TimedOutError`, `ClosedError`,
    `PeerError` and, over UDP, `UnreachableError`; `ValueError` for a request that is longer than a
    line may be, and `TypeError` for an argument that is neither str (sent as UTF-8) nor bytes.

    Args:
        requests: those in flight.
        timeout: seconds for each call that names none.
        url: of the portal, for the repr.
    """

    def __init__(self, requests: ClientConnection, timeout: float, url: PortalURL) -> None:
        self._requests = requests
        self._url = url
        self._timeout = timeout
        self._is_closed = False

    def call(
        self, service: str, *args: str | bytes, timeout: float | None = None
    ) -> tuple[bytes, ...]:
        """Call a service and return the arguments of its OK; DATA lines are dropped.

        ``portal.call("echo", "hi") == (b"hi",)``

        Args:
            timeout: seconds for the whole call; by default the one given to `connect`.
        """
        return self._ask("CALL", (service, *args), timeout)

    def ping(self, *args: str | bytes, timeout: float | None = None) -> tuple[bytes, ...]:
        """Return what the portal sends back: the same arguments."""
        return self._ask("PING", args, timeout)

    def services(self, *, timeout: float | None = None) -> list[str]:
        """Return the names of the services that are offered."""
        return [name.decode("utf-8", "backslashreplace") for name in self._ask("LIST", (), timeout)]

    def describe(self, service: str, *, timeout: float | None = None) -> tuple[bytes, ...]:
        """Return what LIST says of a service: name, flags, usage, summary."""
        return self._ask("LIST", (service,), timeout)

    def stream(
        self, service: str, *args: str | bytes, timeout: float | None = None
    ) -> AbstractContextManager[BlockingDataStream, None]:
        """Call a service and yield its DATA lines as they arrive.

        ``with portal.stream("drip", "3", "10") as rows: for row in rows: ...``
        Leaving the block early cancels the call.

        Args:
            timeout: seconds for the whole call; by default the one given to `connect`.
        """

        def enter() -> BlockingDataStream:
            deadline = self._deadline(timeout)
            pending = self._send("CALL", (service, *args), deadline)

            def receive() -> None:
                if self._is_closed:
                    raise RuntimeError(CLIENT_CLOSED)
                self._receive(deadline, pending)

            return BlockingDataStream(pending, receive)

        statement = "with portal.stream(...) as rows: for row in rows: ..."
        return WithBlock(enter, lambda rows: self._forget(rows.end()), statement)

    def __repr__(self) -> str:
        return f"<blocking client of {self._url}>"

    def __dir__(self) -> list[str]:
        return public_names(self)

    def _ask(
        self, verb: str, args: tuple[str | bytes, ...], timeout: float | None
    ) -> tuple[bytes, ...]:
        deadline = self._deadline(timeout)
        pending = self._send(verb, args, deadline)
        try:
            while True:
                self._receive(deadline, pending)
                if pending.is_over:
                    return pending.result()
                pending.discard_rows()
        finally:
            self._forget(pending)

    def _deadline(self, timeout: float | None) -> float:
        return monotonic() + (self._timeout if timeout is None else check_timeout(timeout))

    def _send(self, verb: str, args: tuple[str | bytes, ...], deadline: float) -> PendingRequest:
        if self._is_closed:
            raise RuntimeError(CLIENT_CLOSED)
        pending = self._requests.ask(verb, args)
        try:
            self._transmit(pending, deadline)
        except BaseException:
            self._requests.forget(pending)
            raise
        return pending

    @abstractmethod
    def _transmit(self, pending: PendingRequest, deadline: float) -> None:
        """Send a request for the first time."""

    @abstractmethod
    def _receive(self, deadline: float, pending: PendingRequest) -> None:
        """Wait for what comes next, whichever request it answers; ``pending`` is waited for."""

    @abstractmethod
    def _forget(self, pending: PendingRequest) -> None:
        """Nobody waits for the answer any longer, whether it has come or not."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; no request can be sent after that."""
