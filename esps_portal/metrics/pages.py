"""A few pages over HTTP/1.1: GET and HEAD, one request for each connection.

It serves monitoring, and is small: h11 parses. What a client can cost is bounded: there are at most
`_MAX_CONNECTIONS`, each for `_TIMEOUT` seconds, with a head of `_MAX_HEAD` bytes, or of one read,
and no body. Nothing here knows what the pages contain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import partial
from http import HTTPStatus

import attrs
import h11
import trio

from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.bind import bind
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.stream import Stream, end_with_fin

# Prometheus scrapes with one connection; a balancer or two and a person may look as well.
_MAX_CONNECTIONS = 16
# Seconds, from the first byte to the last; Prometheus gives up after 10.
_TIMEOUT = 5.0
# Bytes; nginx takes as much (large_client_header_buffers).
_MAX_HEAD = 8192
_TEXT = "text/plain; charset=utf-8"
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@attrs.frozen
class Page:
    """What a request is answered with.

    Attributes:
        body: empty for none.
        content_type: its media type.
        status: the code of HTTP.
        headers: further ones.
    """

    body: bytes
    content_type: str = _TEXT
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


#: By path, what makes a page.
Pages = Mapping[str, Callable[[], Page]]


async def serve_pages(
    pages: Pages,
    *,
    host: str,
    port: int,
    task_status: trio.TaskStatus[tuple[tuple[str, int], ...]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. Reports the addresses once it listens.

    Raises:
        CannotBindError: the address cannot be bound.
    """
    sockets = bind((host,), port, udp=False)
    async with trio.open_nursery() as nursery:
        policy = AcceptPolicy(max_connections=_MAX_CONNECTIONS, refusal=_TOO_MANY)
        server = ConnectionServer(partial(_Client, pages), policy, nursery)
        for listener in sockets.tcp:
            nursery.start_soon(server.acceptor.accept, listener)
        task_status.started(sockets.tcp_addresses)


class _Client:
    """Serves one connection; `run` is its whole life."""

    # The time limit of `run` ends it.
    deadline = math.inf

    def __init__(self, pages: Pages, stream: Stream, remote: tuple[str, int]) -> None:
        del remote  # anybody may look
        self._pages = pages
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)

    async def run(self) -> None:
        """Read a request, answer it, and close."""
        try:
            with trio.move_on_after(_TIMEOUT):
                await self._answer()
                await end_with_fin(self._stream, _TIMEOUT)
        except trio.BrokenResourceError:
            pass
        finally:
            self._stream.close()

    async def _answer(self) -> None:
        try:
            request = await self._read()
        except h11.RemoteProtocolError as error:
            # Its text may repeat what the client has sent.
            await self._send(Page(b"bad request\n", status=error.error_status_hint))
            return
        if request is not None:
            await self._send(self._page(request), is_head=request.method == b"HEAD")

    async def _read(self) -> h11.Request | None:
        """Return the head of the request; `None`: the client has gone before its end."""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._stream.receive())
            else:
                return event if isinstance(event, h11.Request) else None

    def _page(self, request: h11.Request) -> Page:
        if request.method not in (b"GET", b"HEAD"):
            return Page(b"only GET and HEAD\n", status=405, headers=(("Allow", "GET, HEAD"),))
        path = request.target.partition(b"?")[0].decode("ascii")
        page = self._pages.get(path)
        if page is None:
            return Page(f"the pages are {', '.join(self._pages)}\n".encode(), status=404)
        return page()

    async def _send(self, page: Page, *, is_head: bool = False) -> None:
        headers = [
            ("Date", formatdate(usegmt=True)),
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
            *page.headers,
        ]
        head = h11.Response(
            status_code=page.status, reason=HTTPStatus(page.status).phrase, headers=headers
        )
        data = self._http.send(head) or b""
        if not is_head:
            data += page.body
        while data:
            data = data[self._stream.send_now(data) :]
            if data:
                await self._stream.wait_writable()

    # -- what a `ConnectionServer` may ask for; nothing here ends it but its nursery

    @property
    def is_idle(self) -> bool:
        """Whether it waits for another request: it never does."""
        return False

    def begin_anew(self) -> None:
        """Nothing: no journal has noted it."""

    def expire(self) -> None:
        """Nothing: it has no deadline but that of `run`."""

    def shut_down(self) -> None:
        """Nothing: it ends by itself, soon."""

    def abort(self) -> None:
        """End at once, with RST."""
        self._stream.abort()

    def sever(self) -> None:
        """Send RST from another thread, for a loop that is stuck."""
        self._stream.sever()
