"""Serves one client of the control port: each request is answered before the next is read.

A client has a limited time for each phase, and `ConnectionServer` watches that. While a request
that may wait is under way, the client's FIN ends it: most likely the client was killed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from esps_portal.control.endpoint import EndpointRequest
from esps_portal.control.error_replies import EndedError, reply_of
from esps_portal.control.guard import Guard
from esps_portal.control.http_connection import HttpConnection
from esps_portal.control.http_messages import HttpError, Reply, RequestHead
from esps_portal.control.room import Room
from esps_portal.control.router import EndpointFinder, FoundEndpoint
from esps_portal.net.stream import Stream, end_with_fin
from esps_portal.net.turns import ConnectionTurns

#: Seconds for which a connection may wait for its next request (nginx: 75).
IDLE = 75.0
#: Seconds for all of a request line and its headers; also the shortest of these times.
HEAD = 10.0
#: Seconds for all of a body.
BODY = 30.0
#: Seconds for which a client may read nothing of a reply.
STALL = 30.0
# Seconds after which a client that reads nothing of a reply gives way to others (own choice: on any
# network a client that reads gets something in that time).
_SLOW = 1.0
# Seconds within which the first request of a new connection is expected (own choice: a program that
# opens hundreds of connections at once writes to the last of them about 0.1 s later).
_FIRST = 0.25
# Seconds for which what a client still sends is discarded, so that no RST overtakes the reply.
_LINGER = 1.0

# Bytes of a body that takes more than a millisecond to parse: a thread does it, and others have
# their turn meanwhile.
_LARGE = 16_384

_BUSY = Reply.of_error(
    HttpError(503, "too many requests wait already", headers={"Retry-After": "1"})
)


class _LateError(EndedError):
    """The client has taken too long."""


class HttpHandler:
    """One connection; see `ConnectionHandler`.

    Args:
        turns: it waits for one before it looks at its input, so that many clients who send without
            a pause do not hold up others. By default it has its own.

    Attributes:
        deadline: when it ends unless its client goes on.
        waits_since: since when it waits for its client; ``None``: it does not.
        is_held: whether its request may wait for long (``POST /wait``).
        is_new: whether it has had no reply yet.
    """

    def __init__(
        self,
        stream: Stream,
        guard: Guard,
        finder: EndpointFinder,
        room: Room,
        turns: ConnectionTurns | None = None,
    ) -> None:
        self.deadline: float = math.inf
        self.is_held: bool = False
        self.is_new: bool = True
        self.waits_since: float | None = trio.current_time()
        self._admitted = self.waits_since
        # Whether it waits for more of a request; otherwise for its client to read a reply.
        self._is_reading = True
        self._stream = stream
        self._guard = guard
        self._finder = finder
        self._turns = turns or ConnectionTurns()
        self._http = HttpConnection()
        self._scope = trio.CancelScope()
        self._is_late = False
        self._is_closing = False
        self._is_aborted = False
        self._is_ended = False
        self._room = room
        # Set once it is known whether it is served or refused.
        self._is_settled = trio.Event()
        self._is_refused = False
        room.enter(self)

    @property
    def gives_way(self) -> bool:
        """Whether it may be ended for another client: no request of its own would be lost."""
        if self.waits_since is None:
            return False
        if self._is_reading:
            return not self._stream.has_input()
        return trio.current_time() >= self.waits_since + _SLOW

    @property
    def is_expected(self) -> bool:
        """Whether its first request may be on its way."""
        return self.is_new and trio.current_time() < self._admitted + _FIRST

    # -- what the server does with it

    def shut_down(self) -> None:
        """End after the request that is under way; at once, if its client is waited for."""
        self._is_closing = True
        if self.waits_since is not None:
            self._is_ended = True
            self._scope.cancel()
            self._is_settled.set()
            self._stream.close()  # its descriptor is free before its task ends

    def admit(self) -> None:
        """Begin to serve it."""
        self.waits_since = self._admitted = trio.current_time()
        self._is_settled.set()

    def refuse(self) -> None:
        """Answer with the error that too many wait."""
        self._is_refused = self._is_closing = True
        self._is_settled.set()

    def expire(self) -> None:
        """End what takes too long."""
        if self._is_settled.is_set():
            self._is_late = True
            self._scope.cancel()
        else:
            self._room.refuse(self)

    def abort(self) -> None:
        """End at once, with RST."""
        self._is_aborted = self._is_closing = True
        self._scope.cancel()

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for the client's next request."""
        return self.waits_since is not None and not self._http.has_begun

    def begin_anew(self) -> None:
        """Nothing: no journal has noted it."""

    # -- requests

    async def run(self) -> None:
        """Serve until it has ended."""
        try:
            await self._until_settled()
            if self._is_refused:
                await self._send(_BUSY, close=True)
            else:
                while await self._serve_one():
                    pass
            await self._end()
        except (EndedError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            if self._is_aborted:
                self._stream.abort()
            self._stream.close()
            self._room.leave(self)

    async def _until_settled(self) -> None:
        """Wait until it is known whether it is served or refused."""
        if self._is_settled.is_set():
            return
        self.deadline = trio.current_time() + HEAD
        with trio.CancelScope() as self._scope:
            while not self._is_settled.is_set():
                with trio.move_on_after(_FIRST):
                    await self._is_settled.wait()
                self._room.settle()  # one whose request has not come gives way by now
        self.deadline = math.inf

    async def _serve_one(self) -> bool:
        """Answer one request; return whether another may come."""
        try:
            head = await self._next_head()
        except HttpError as error:
            await self._send(Reply.of_error(error), close=True)
            return False
        reply = await reply_of(partial(self._answer, head))
        self.is_new = False
        close = self._http.has_unread_body or self._is_closing or self._room.is_wanted
        await self._send(reply, close=close, only_head=head.method == "HEAD")
        return not close and self._http.start_next_cycle()

    async def _next_head(self) -> RequestHead:
        deadline = trio.current_time() + IDLE
        has_begun = False
        while (head := self._http.next_head()) is None:
            if self._http.is_closed:
                raise EndedError
            if self._http.has_begun and not has_begun:
                deadline, has_begun = trio.current_time() + HEAD, True
            try:
                await self._receive(deadline)
            except _LateError:
                if not has_begun:
                    raise
                raise HttpError(408, f"no whole request in {HEAD:g} s") from None
        return head

    async def _answer(self, head: RequestHead) -> Reply:
        self._guard.check(head)
        try:
            found = self._finder.find(head)
            found.endpoint.check(head)
        except HttpError:
            if not self._http.expects_continue:
                await self._body()  # so that the next request can be found
            raise
        body = await self._body()
        if len(body) > _LARGE:
            value = await trio.to_thread.run_sync(found.endpoint.read, head, body)
        else:
            value = found.endpoint.read(head, body)
        query = found.endpoint.read_query(head.query)
        return await self._call(found, EndpointRequest(value, query, found.name))

    async def _body(self) -> bytes:
        if self._http.expects_continue:
            await self._write(self._http.continue_response())
        deadline = trio.current_time() + BODY
        while (body := self._http.next_body()) is None:
            try:
                await self._receive(deadline)
            except _LateError:
                raise HttpError(408, f"no whole body in {BODY:g} s") from None
        return body

    async def _call(self, found: FoundEndpoint, request: EndpointRequest) -> Reply:
        """Call an endpoint."""
        result = found.endpoint.handler(found.controls, request)
        if not inspect.isawaitable(result):
            return _as_reply(result)
        with trio.CancelScope() as self._scope:
            if not found.endpoint.may_wait:
                return _as_reply(await result)
            self.is_held = True
            self._room.settle()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch_client, self._scope)
                reply = await reply_of(partial(_awaited, result))
                nursery.cancel_scope.cancel()
            self.is_held = False
            return reply
        raise EndedError

    async def _watch_client(self, scope: trio.CancelScope) -> None:
        """End a request whose client has gone; return if it has sent another one."""
        try:
            data = await self._stream.receive()
        except trio.BrokenResourceError:
            data = b""
        self._http.receive(data)
        if not data:
            scope.cancel()

    # -- bytes

    async def _end(self) -> None:
        """Send FIN after the last reply; meanwhile others have the place in the room."""
        with trio.CancelScope() as self._scope:
            self._room.release(self)
            await end_with_fin(self._stream, _LINGER, self._turns.work)

    async def _send(self, reply: Reply, *, close: bool, only_head: bool = False) -> None:
        pieces = self._http.encode_reply(reply, close=close, only_head=only_head)
        for piece in pieces:
            await self._write(piece)
            # Others have their turn: the next piece, or request, may be there already.
            await self._turns.work.next()

    async def _write(self, data: bytes) -> None:
        sent = self._stream.send_now(data)
        while sent < len(data):
            self._is_reading = False
            await self._wait(trio.current_time() + STALL, self._stream.wait_writable)
            sent += self._stream.send_now(data[sent:])

    async def _receive(self, deadline: float) -> None:
        async def receive() -> None:
            self._http.receive(await self._stream.receive())

        if self._is_closing:
            raise EndedError
        self._is_reading = True
        await self._wait(deadline, receive)
        await self._turns.input.begin()

    async def _wait(self, deadline: float, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait for the client.

        Raises:
            _LateError: the deadline has passed.
            EndedError: the connection is to end.
        """
        self.deadline, self.waits_since = deadline, trio.current_time()
        self._is_late = False
        self._room.settle()
        if self._is_ended:
            raise EndedError
        try:
            with trio.CancelScope() as self._scope:
                await wait()
                return
        finally:
            self.deadline, self.waits_since = math.inf, None
        raise _LateError if self._is_late else EndedError


async def _awaited(result: Awaitable[object]) -> Reply:
    return _as_reply(await result)


def _as_reply(result: object) -> Reply:
    return result if isinstance(result, Reply) else Reply(result)
