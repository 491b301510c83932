"""A function that cannot be called as it will be is refused where it is given, not at its call."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from socket import create_connection
from typing import Any

import pytest
import trio

from esps_portal import CallContext, ReplyError, blocking
from esps_portal.faults.matching import Match
from esps_portal.mock.matching import ArgsMatcher
from esps_portal.testing import FaultError, lines, peer_in_thread, serve_in_thread
from esps_portal.user_functions import check_predicate, check_takes


def takes_none() -> None: ...


def takes_one(frame: bytes) -> bool:
    return bool(frame)


def takes_two(frame: bytes, connection: object) -> None: ...


def takes_three(frame: bytes, connection: object, more: object) -> None: ...


def needs_name(frame: bytes, connection: object, *, name: str) -> None: ...


async def is_a(frame: bytes) -> bool:
    return frame == b"a"


class Handlers:
    def bound(self, frame: bytes, connection: object) -> None: ...

    async def __call__(self, frame: bytes, connection: object) -> None: ...


@pytest.mark.parametrize("function", [takes_none, takes_one, takes_three, needs_name])
def test_a_handler_that_cannot_be_called(function: Callable[..., Any]) -> None:
    wanted = f"a handler is called with (frame, connection); {function.__name__}("
    with peer_in_thread(lines()) as peer, pytest.raises(TypeError, match=re.escape(wanted)):
        peer.handler(function)


@pytest.mark.parametrize(
    "function",
    [
        takes_two,
        Handlers().bound,
        Handlers(),
        partial(takes_three, more=1),
        lambda *_: None,
        max,  # written in C: it does not say what it takes
    ],
)
def test_a_handler_that_can_be_called(function: Callable[..., Any]) -> None:
    check_takes(function, "a handler", "frame", "connection")


@pytest.mark.parametrize("function", [re.compile("a").search, bytes.isdigit, takes_one, bool])
def test_a_predicate_that_can_be_called(function: Callable[..., Any]) -> None:
    check_predicate(function, "bytes")


def is_generator(frame: bytes) -> Iterator[bytes]:
    yield frame


async def is_async_generator(frame: bytes) -> AsyncIterator[bytes]:
    yield frame


class Seen:
    def __init__(self, frame: bytes) -> None: ...


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (takes_none, "a predicate is called"),
        (takes_two, "a predicate is called"),
        (is_a, "a predicate must be a sync function"),
        (is_generator, "a generator, from yield, is true"),
        (is_async_generator, "a generator, from yield, is true"),
        (Seen, "an instance of Seen is true"),
    ],
)
def test_a_predicate_of_a_stub_and_of_a_fault(function: Callable[..., Any], why: str) -> None:
    with peer_in_thread(lines()) as peer:
        with pytest.raises(TypeError, match=why):
            peer.stub(function)
        with pytest.raises(FaultError, match=why):
            peer.fault("reset", match=function)
        with pytest.raises(FaultError, match=why):
            peer.fault("reset", reply_match=function)
        assert (peer.problems(), list(peer.exchanges())) == ([], [])


@pytest.mark.parametrize("answers", [is_a, is_generator, is_async_generator])
def test_a_predicate_that_passes_on_what_is_always_true(answers: Callable[..., Any]) -> None:
    def passes_on(frame: bytes) -> object:
        return answers(frame)

    why = "a predicate must return true or false, not a"
    with pytest.raises(TypeError, match=why):
        Match.of("match", passes_on).matches(b"b")
    assert why in ArgsMatcher.of([passes_on]).differences([b"b"])[0]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Seen, "a handler must be a function, got the class Seen: give an instance of it"),
        ("x", "a handler must be a function, got 'x'"),
        (is_generator, "a handler must return its answer: is_generator has a yield"),
        (is_async_generator, "a handler must return its answer: is_async_generator has a yield"),
    ],
)
def test_what_is_no_function_for_a_handler(wrong: object, why: str) -> None:
    with peer_in_thread(lines()) as peer, pytest.raises(TypeError, match=re.escape(why)):
        peer.handler(wrong)  # type: ignore[type-var]


async def sleeps(*_: object) -> None:
    await asyncio.sleep(1)


async def yields_to_the_loop(*_: object) -> None:
    await asyncio.sleep(0)


async def gathers(*_: object) -> None:
    async with asyncio.timeout(1):
        await asyncio.gather(sleeps())


async def in_a_nursery(*_: object) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeps)


def creates_a_task(*_: object) -> None:
    running = sleeps()
    try:
        asyncio.get_running_loop().create_task(running)
    finally:
        running.close()


OF_ASYNCIO = [sleeps, yields_to_the_loop, gathers, in_a_nursery, creates_a_task]


@pytest.mark.parametrize("function", OF_ASYNCIO)
def test_a_handler_of_asyncio(function: Callable[..., Any]) -> None:
    with peer_in_thread(lines()) as peer:
        peer.handler(function)
        with create_connection((peer.host, peer.port), timeout=30) as client:
            client.sendall(b"hello\n")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        (problem,) = peer.problems()
    assert f"{function.__name__} runs in trio, not in asyncio: it can wait with" in problem


@pytest.mark.parametrize("function", OF_ASYNCIO)
def test_a_service_of_asyncio(function: Callable[..., Any]) -> None:
    with serve_in_thread() as portal:
        portal.service(name="late")(function)
        with blocking.connect(portal.url) as client, pytest.raises(ReplyError, match="failed"):
            client.call("late")
        (problem,) = portal.problems()
    assert f"{function.__name__} runs in trio, not in asyncio: it can wait with" in problem


def test_what_else_is_wrong_has_no_note_of_asyncio() -> None:
    def fails() -> None:
        raise RuntimeError("no stock")

    with serve_in_thread() as portal:
        portal.service(fails)
        with blocking.connect(portal.url) as client, pytest.raises(ReplyError, match="failed"):
            client.call("fails")
        (problem,) = portal.problems()
    assert "no stock" in problem
    assert "asyncio" not in problem


def test_a_sync_service_sends_no_data() -> None:
    """Without an await nothing would be sent, and nobody would know."""

    def rows(*, call: CallContext) -> None:
        call.data("1")  # type: ignore[unused-coroutine]

    with serve_in_thread() as portal:
        portal.service(rows)
        with blocking.connect(portal.url) as client, pytest.raises(ReplyError, match="failed"):
            client.call("rows")
        (problem,) = portal.problems()
    assert "only an async def sends DATA lines: `await call.data(...)`" in problem
