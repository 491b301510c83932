"""Waiting for connections to open and to end, at a portal, a proxy and a peer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from esps_portal.testing import (
    NoConnectionError,
    lines,
    open_memory_portal,
    open_peer,
    peer_in_thread,
    proxy_in_thread,
    serve_in_thread,
)
from esps_portal.testing.server_controller import ServerController
from tests.patience import PATIENCE


@contextlib.contextmanager
def _proxy() -> Iterator[ServerController]:
    with serve_in_thread() as portal, proxy_in_thread(f"tcp://{portal.host}:{portal.port}") as it:
        yield it


@contextlib.contextmanager
def _peer() -> Iterator[ServerController]:
    with peer_in_thread(lines()) as it:
        yield it


Role = Callable[[], contextlib.AbstractContextManager[ServerController]]
ROLES: list[Role] = [serve_in_thread, _proxy, _peer]


def dial(server: ServerController) -> socket.socket:
    return socket.create_connection((server.host, server.port), PATIENCE)


@pytest.mark.parametrize("start", ROLES)
def test_one_after_the_other(start: Role) -> None:
    with start() as server:
        first = dial(server)
        (opened,) = server.wait_for_connections(timeout=PATIENCE)
        assert opened.closed is None
        first.close()
        (ended,) = server.wait_for_connections(closed=True, timeout=PATIENCE)
        assert ended is opened
        assert ended.closed_by == "client"
        with dial(server):
            assert len(server.wait_for_connections(2, timeout=PATIENCE)) == 2  # ended ones count
            with pytest.raises(NoConnectionError) as caught:
                server.wait_for_connections(2, closed=True, timeout=0)
    first_line, *transcript = str(caught.value).splitlines()
    assert first_line == "1 of 2 connections had ended after 0 s"
    assert "opened by" in transcript[0]


def test_from_another_thread(portal: ServerController) -> None:
    with dial(portal) as client:
        timer = threading.Timer(0.02, client.shutdown, [socket.SHUT_RDWR])
        timer.start()
        (ended,) = portal.wait_for_connections(closed=True, timeout=PATIENCE)
        timer.join()
    assert ended.closed_by == "client"


def test_what_was_before_a_reset_does_not_count(portal: ServerController) -> None:
    dial(portal).close()
    portal.wait_for_connections(closed=True, timeout=PATIENCE)
    portal.reset()
    with pytest.raises(NoConnectionError, match=r"^0 of 1 connections had opened after 0 s\n"):
        portal.wait_for_connections(timeout=0)


def test_under_asyncio(portal: ServerController) -> None:
    async def main() -> None:
        _, writer = await asyncio.open_connection(portal.host, portal.port)
        await portal.wait_for_connections_async(timeout=PATIENCE)
        with pytest.raises(
            RuntimeError, match=r"`await portal\.wait_for_connections_async\(\.\.\.\)"
        ):
            portal.wait_for_connections()
        writer.close()
        await writer.wait_closed()
        (found,) = await portal.wait_for_connections_async(closed=True, timeout=PATIENCE)
        assert found.closed_by == "client"

    asyncio.run(main())


async def test_in_the_servers_own_loop() -> None:
    async with open_peer(lines()) as peer:
        with dial(peer):
            await peer.wait_for_connections_async(timeout=PATIENCE)
        (found,) = await peer.wait_for_connections_async(closed=True, timeout=PATIENCE)
        assert found.how == "fin"


async def test_without_sockets() -> None:
    async with open_memory_portal() as portal:
        async with portal.open_stream():
            (opened,) = await portal.wait_for_connections_async(timeout=PATIENCE)
            assert opened.closed is None
        (ended,) = await portal.wait_for_connections_async(closed=True, timeout=PATIENCE)
        assert ended is opened
        assert ended.closed_by == "client"


@pytest.mark.parametrize(
    "arguments", [{"count": 0}, {"count": 10_001}, {"timeout": -1}, {"timeout": "1"}, {"closed": 1}]
)
def test_wrong_arguments(portal: ServerController, arguments: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        portal.wait_for_connections(**arguments)
