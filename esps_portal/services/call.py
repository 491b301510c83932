"""A call: its client, what its service sees of it, and how it runs as a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, NoReturn, Protocol

import attrs

from esps_portal.protocol.messages import DATA, Reply, Request
from esps_portal.services.service import ResultError, data_to_args
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class Caller(Protocol):
    """The client of a request, as the server sees it; each transport has its own.

    Attributes:
        transport: ``tcp`` or ``udp``.
    """

    __slots__ = ()

    transport: ClassVar[str]

    @property
    def remote(self) -> tuple[str, int]:
        """The client's address and port."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The client's address."""
        return self.remote[0]

    @property
    def port(self) -> int:
        """The client's port."""
        return self.remote[1]

    def note_executed(self) -> None:
        """Note that the call has passed all checks, so that any answer is its service's own."""
        return

    def reserve(self, *, idempotent: bool, is_async: bool) -> bool:
        """Reserve room for one more call; ``False``: there is none, reply ``busy``.

        Args:
            idempotent: the service may be executed twice for one request (UDP).
            is_async: the service is async: the call runs as a task.
        """
        raise NotImplementedError


class CallContext(Protocol):
    """What a service gets as ``call``, if it has that parameter."""

    @property
    def tag(self) -> bytes:
        """The tag of the request."""

    @property
    def caller(self) -> Caller:
        """The client."""

    async def data(self, *args: str | bytes) -> None:
        """Send one ``DATA`` line; wait while the client does not read.

        Raises:
            TypeError: an argument is neither str nor bytes, or the service is not async.
            ValueError: the line would be longer than ``max_line``.
        """


@attrs.frozen(eq=False)
class SyncCall:
    """What a sync service gets as ``call``: it replies at once, and sends no DATA lines.

    Attributes:
        tag: of the request.
    """

    tag: bytes
    caller: Caller

    def data(self, *_: str | bytes) -> NoReturn:
        """Raise `ResultError`: nothing is sent before the reply."""
        raise ResultError("only an async def sends DATA lines: `await call.data(...)`")


@attrs.define(eq=False)
class Call:
    """A call that runs as a task. The server runs it in a scope that it can cancel.

    Attributes:
        max_line: the portal's limit, in bytes.
        closes: the connection ends after the final reply.
        send: sends a DATA line; the server sets it before `run`.
    """

    request: Request
    caller: Caller
    max_line: int
    closes: bool = False
    send: Callable[[Reply], Awaitable[None]] | None = None

    @property
    def tag(self) -> bytes:
        """The tag of the request."""
        return self.request.tag

    @property
    def service_name(self) -> bytes:
        """The name of the service."""
        return self.request.args[0]

    async def data(self, *args: str | bytes) -> None:
        """Send one ``DATA`` line; wait while the client does not read.

        Raises:
            ResultError: an argument is neither str nor bytes.
            ValueError: the line would be longer than `max_line`.
        """
        reply = Reply(self.request.tag, DATA, data_to_args(args))
        if reply.size > self.max_line:
            raise ValueError(f"a DATA line would be longer than {self.max_line} bytes")
        if self.send is not None:
            await self.send(reply)

    async def run(self) -> Reply:
        """Execute the call, and return its final reply. Raises nothing but `trio.Cancelled`."""
        raise NotImplementedError
