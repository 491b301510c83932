"""Pages over HTTP: what is answered, and what a client can cost."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from esps_portal.metrics.pages import Page, serve_pages


def greeting() -> Page:
    return Page(b"hello\n")


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    """Serve one page; yield the port."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_pages, {"/hello": greeting}, host="127.0.0.1", port=0)
        ((_, port),) = await nursery.start(serve)
        yield port
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Send a request; return the head of the answer, and its body."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(request)
        answer = b"".join([data async for data in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /hello HTTP/1.1", b"200", b"hello\n"),
        (b"GET /hello?x=1 HTTP/1.1", b"200", b"hello\n"),
        (b"GET /hello HTTP/1.0", b"200", b"hello\n"),
        (b"HEAD /hello HTTP/1.1", b"200", b""),
        (b"GET / HTTP/1.1", b"404", b"the pages are /hello\n"),
        (b"GET http://evil/hello HTTP/1.1", b"404", b"the pages are /hello\n"),
        (b"POST /hello HTTP/1.1", b"405", b"only GET and HEAD\n"),
        (b"hello", b"400", b"bad request\n"),
        (
            b"GET /" + b"x" * 30_000 + b" HTTP/1.1",
            b"431",
            b"bad request\n",
        ),
    ],
    ids=lambda value: value[:20].decode() if isinstance(value, bytes) else None,
)
async def test_a_request_is_answered_and_the_connection_closed(
    request_line: bytes, status: bytes, body: bytes
) -> None:
    rest = b"\r\nHost: x\r\n\r\n"
    async with served() as port:
        head, found = await ask(port, request_line + rest)
    assert head.split()[1] == status
    assert found == body
    lines = head.lower().split(b"\r\n")
    assert b"connection: close" in lines
    assert status != b"405" or b"allow: get, head" in lines
    assert status != b"200" or b"content-length: 6" in lines


async def test_a_request_may_come_in_pieces() -> None:
    async with served() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        for byte in b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n":
            await stream.send_all(bytes([byte]))
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")


async def test_what_follows_a_request_is_not_answered() -> None:
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served() as port:
        _, body = await ask(port, request * 2)
    assert body == b"hello\n"


async def test_who_says_nothing_is_dropped(autojump_clock: MockClock) -> None:
    async with served() as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /hel")
        assert await stream.receive_some() == b""
        assert trio.current_time() == pytest.approx(5, abs=0.5)


async def test_no_more_than_sixteen_are_served_at_a_time() -> None:
    request = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
    async with served() as port:
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
        try:
            # Accepted in order, so those before it are served.
            head, _ = await ask(port, b"")
            assert head.startswith(b"HTTP/1.1 503 ")
        finally:
            for sock in waiting:
                sock.close()
        while True:  # until their ends were noticed
            head, _ = await ask(port, request)
            if head.startswith(b"HTTP/1.1 200 "):
                break
            await trio.testing.wait_all_tasks_blocked()
