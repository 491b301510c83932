"""What the client on trio offers, over TCP and over UDP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from esps_portal.exports import public_names
from esps_portal.given_numbers import shown_value
from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.grammar import VERB
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import AsyncWithBlock

__tracebackhide__ = hides_frame


class DataStream:
    """The DATA lines of a running call, as they arrive. Iterate over it once, within the block.

    Attributes:
        result: the arguments of the final OK; empty until the iteration has ended.
    """

    def __init__(self, client: PortalClient, pending: PendingRequest) -> None:
        self._client = client
        self._pending = pending
        self._has_ended = False
        self.result: tuple[bytes, ...] = ()

    def __aiter__(self) -> DataStream:
        return self

    async def __anext__(self) -> tuple[bytes, ...]:
        if self._has_ended:
            raise RuntimeError("the stream has ended: its `async with` block is over")
        await self._client.wait_for_news(self._pending)
        if self._pending.rows:
            return self._pending.collect()
        self.result = self._pending.result()
        raise StopAsyncIteration

    def end(self) -> None:
        """End the iteration: the block is over."""
        self._has_ended = True

    def __dir__(self) -> list[str]:
        return public_names(self)


class PortalClient(ABC):
    """A portal to call. Made by `esps_portal.connect`; safe to use from several tasks at once.

    Every method waits for as long as the portal takes: limit it with a cancel scope of yours
    (``with trio.fail_after(seconds)``). Cancelling a call cancels it at the portal too. Each may
    raise `ReplyError` (the portal answered ERR), `ClosedError`, `PeerError` and, over UDP,
    `TimedOutError` and `UnreachableError`; `ValueError` for a request that is longer than a line
    may be, and `TypeError` for an argument that is neither str (sent as UTF-8) nor bytes.
    """

    _requests: ClientConnection
    _url: PortalURL

    @property
    def rejected(self) -> bytes:
        """The beginning of the last input that is not ESPS/1; over UDP such input is ignored."""
        return self._requests.rejected

    @property
    def unfinished(self) -> bytes:
        """The beginning of a line whose end has not come yet; only over TCP."""
        return self._requests.unfinished

    async def call(self, service: str, *args: str | bytes) -> tuple[bytes, ...]:
        """Call a service and return the arguments of its OK; DATA lines are dropped.

        ``await portal.call("echo", "hi") == (b"hi",)``
        """
        return await self._ask("CALL", (service, *args))

    async def ping(self, *args: str | bytes) -> tuple[bytes, ...]:
        """Return what the portal sends back: the same arguments."""
        return await self._ask("PING", args)

    async def services(self) -> list[str]:
        """Return the names of the services that are offered."""
        return [name.decode("utf-8", "backslashreplace") for name in await self._ask("LIST", ())]

    async def describe(self, service: str) -> tuple[bytes, ...]:
        """Return what LIST says of a service: name, flags, usage, summary."""
        return await self._ask("LIST", (service,))

    async def hello(self) -> tuple[bytes, ...]:
        """Return what HELLO returns: version, product, and the limits as ``key=value``."""
        return await self._ask("HELLO", ("ESPS/1",))

    def stream(
        self, service: str, *args: str | bytes
    ) -> AbstractAsyncContextManager[DataStream, None]:
        """Call a service and yield its DATA lines as they arrive.

        ``async with portal.stream("drip", "3", "10") as rows: async for row in rows: ...``
        Leaving the block early cancels the call. Over TCP the replies of other calls come after
        these lines: lines that are read for their sake are held, up to 64 MiB.

        Raises:
            SlowConsumerError: more than that was held, so the call was ended; raised by the
                iteration.
        """
        statement = "async with portal.stream(...) as rows: async for row in rows: ..."
        return AsyncWithBlock(self._stream("CALL", (service, *args)), statement)

    def request(
        self, verb: str, *args: str | bytes
    ) -> AbstractAsyncContextManager[DataStream, None]:
        """Send any request of ESPS/1, and yield its lines as `stream` does those of a call.

        ``async with portal.request("HELLO", "ESPS/2", "ESPS/1") as rows: ...``
        For a person who types requests. Nothing is checked: a portal answers a verb that it does
        not know, or arguments that it does not take, with an error, and closes the connection if
        that was the first line. After a ``QUIT`` it closes the connection too.

        Raises:
            ValueError: the verb is not 1 to 16 letters, or the line would be too long.
        """
        if not VERB.fullmatch(verb.encode("utf-8", "surrogatepass")):
            raise ValueError(f"a verb is 1 to 16 letters, got {shown_value(verb)}")
        statement = "async with portal.request(...) as rows: async for row in rows: ..."
        return AsyncWithBlock(self._stream(verb, args), statement)

    def on_notice(self, function: Callable[[bytes, tuple[bytes, ...]], None]) -> None:
        """Have a function called with the word and the arguments of each notice: ``BYE``, ``ERR``.

        It is called when the notice is read, which happens while a task waits for an answer or in
        `wait_closed`; at once for what came with the greeting. Only TCP has notices.
        """
        self._requests.on_notice(lambda notice: function(notice.word, notice.args))

    @asynccontextmanager
    async def _stream(self, verb: str, args: tuple[str | bytes, ...]) -> AsyncIterator[DataStream]:
        pending = await self._send(verb, args)
        rows = DataStream(self, pending)
        try:
            yield rows
        finally:
            rows.end()
            if pending.final is None:
                await self._abandon(pending)

    def __repr__(self) -> str:
        return f"<client of {self._url}>"

    def __dir__(self) -> list[str]:
        return public_names(self)

    async def _ask(self, verb: str, args: tuple[str | bytes, ...]) -> tuple[bytes, ...]:
        pending = await self._send(verb, args)
        try:
            while not pending.is_over:
                pending.discard_rows()
                await self.wait_for_news(pending)
        finally:
            if pending.final is None:
                await self._abandon(pending)
        return pending.result()

    @abstractmethod
    async def _send(self, verb: str, args: tuple[str | bytes, ...]) -> PendingRequest:
        """Send a request."""

    @abstractmethod
    async def wait_for_news(self, pending: PendingRequest) -> None:
        """Wait until there is something to collect for ``pending``."""

    @abstractmethod
    async def _abandon(self, pending: PendingRequest) -> None:
        """Forget a request whose caller no longer waits for the answer."""

    @abstractmethod
    async def wait_closed(self) -> None:
        """Wait until the portal ends the connection; over UDP, which has none, indefinitely.

        Raises:
            ClosedError, PeerError: how it ended. It never returns.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connection."""
