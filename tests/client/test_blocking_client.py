"""The blocking client, over both transports, in a thread beside the portal's loop."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from esps_portal import (
    CallContext,
    ClosedError,
    PeerError,
    ReplyError,
    ServerConfig,
    TimedOutError,
    blocking,
    serve,
)
from esps_portal.services.builtin_portal import builtin_portal
from tests.patience import PATIENCE


async def in_thread(function: Callable[[], None]) -> None:
    await trio.to_thread.run_sync(function)


async def test_calls_and_streams(url: str) -> None:
    def session() -> None:
        with blocking.connect(url, timeout=PATIENCE) as portal:
            assert portal.call("echo", "a b", b"\xff") == (b"a b", b"\xff")
            assert portal.ping("x") == (b"x",)
            assert "echo" in portal.services()
            assert portal.describe("echo")[0] == b"echo"
            with portal.stream("drip", "3", "1") as rows:
                assert not rows.result
                assert list(rows) == [(b"1",), (b"2",), (b"3",)]
                assert rows.result == (b"3",)
            with pytest.raises(ReplyError):
                portal.call("nonsense")
            with pytest.raises(TimedOutError):
                portal.call("delay", "60000", timeout=0.05)
            assert portal.ping("still") == (b"still",)

    await in_thread(session)


async def test_a_stream_that_is_left_early_cancels_the_call(
    nursery: trio.Nursery,
) -> None:
    portal = builtin_portal("test/1")
    ended = trio.Event()

    @portal.service
    async def rows_without_end(*, call: CallContext) -> None:
        try:
            while True:
                await call.data("row")
                await trio.sleep(0.001)
        finally:
            ended.set()

    def session(port: int) -> None:
        with blocking.connect(f"esps://127.0.0.1:{port}") as client:
            with client.stream("rows-without-end") as rows:
                assert next(rows) == (b"row",)
            with pytest.raises(RuntimeError, match="stream has ended: its `with` block is over"):
                next(rows)
            assert rows.result == ()
            # The call has ended before the connection closes.
            assert client.ping("still") == (b"still",)
            assert ended.is_set()

    listening = await nursery.start(serve, ServerConfig(portal=portal, port=0))
    await in_thread(lambda: session(listening.tcp[0][1]))


async def test_a_stream_has_one_timeout_for_all_its_lines(url: str) -> None:
    def session() -> None:
        with blocking.connect(url) as portal:
            with portal.stream("drip", "9999", "50", timeout=1) as rows:
                if not url.startswith("esps+udp"):
                    assert next(rows) == (b"1",)
                with pytest.raises(TimedOutError):
                    list(rows)
            with pytest.raises(ReplyError), portal.stream("nonsense") as rows:
                list(rows)

    await in_thread(session)


@pytest.mark.parametrize(("service", "error"), [("close", ClosedError), ("reset", PeerError)])
async def test_a_portal_that_ends_the_connection(
    port: int, service: str, error: type[Exception]
) -> None:
    def session() -> None:
        with blocking.connect(f"esps://127.0.0.1:{port}") as portal:
            with pytest.raises(error):
                portal.call(service)
            with pytest.raises(error):
                portal.ping()

    await in_thread(session)


def test_connecting_leaves_no_thread() -> None:
    before = set(threading.enumerate())
    with (
        pytest.raises(ValueError, match="not the address of a portal"),
        blocking.connect("http://x"),
    ):
        pass
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("url", ["esps", "esps+udp"], indirect=True)
async def test_a_timeout_of_zero_and_no_timeout(url: str) -> None:
    def ask() -> None:
        with blocking.connect(url, timeout=math.inf) as portal:
            assert portal.call("echo", "hi") == (b"hi",)
            for spent in (0, -1.5):
                with pytest.raises(TimedOutError):
                    portal.call("echo", "late", timeout=spent)
            # Nothing was sent, so the next call is not affected.
            assert portal.call("echo", "again") == (b"again",)
            with pytest.raises(ValueError, match="got nan"):
                portal.call("echo", timeout=math.nan)
            with pytest.raises(TypeError, match="got True"):
                portal.call("echo", timeout=True)

    await in_thread(ask)


def test_a_timeout_that_is_not_a_number() -> None:
    wrong: Any = "1"
    with (
        pytest.raises(TypeError, match="got '1'"),
        blocking.connect("esps://127.0.0.1", timeout=wrong),
    ):
        pass
