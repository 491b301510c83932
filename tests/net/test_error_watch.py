"""The end of a connection that is not read, with an epoll and without."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
import trio
import trio.testing

from esps_portal.net.error_watch import EpollWatch, ErrorWatch, PollingWatch
from esps_portal.net.systems import reset_at_close
from tests.patience import PATIENCE

_Make = Callable[[socket.socket], ErrorWatch]


@pytest.fixture(name="pair")
def _pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        accepted, _ = listener.accept()
    with client, accepted:
        accepted.settimeout(0)
        yield client, accepted


@pytest.mark.parametrize("make", [EpollWatch, PollingWatch])
@pytest.mark.parametrize("for_fin", [False, True])
async def test_rst_behind_unread_bytes(
    pair: tuple[socket.socket, socket.socket], make: _Make, *, for_fin: bool
) -> None:
    client, accepted = pair
    watch = make(accepted)
    client.sendall(b"unread")
    with trio.move_on_after(0.2) as patience:
        await watch.wait(for_fin=for_fin)
    assert patience.cancelled_caught
    reset_at_close(client)
    client.close()
    with trio.fail_after(PATIENCE):
        assert await watch.wait(for_fin=for_fin) == "error"
    watch.close()


@pytest.mark.parametrize("make", [EpollWatch, PollingWatch])
async def test_fin_is_the_end_if_it_is_wanted(
    pair: tuple[socket.socket, socket.socket], make: _Make
) -> None:
    client, accepted = pair
    watch = make(accepted)
    client.shutdown(socket.SHUT_WR)
    with trio.fail_after(PATIENCE):
        assert await watch.wait(for_fin=True) == "fin"
    with trio.move_on_after(0.2) as patience:
        await watch.wait(for_fin=False)
    assert patience.cancelled_caught
    accepted.shutdown(socket.SHUT_WR)
    with trio.fail_after(PATIENCE):
        assert await watch.wait(for_fin=False) == "fin"
    watch.close()


@pytest.mark.parametrize("make", [EpollWatch, PollingWatch])
async def test_a_closed_socket_ends_the_wait(
    pair: tuple[socket.socket, socket.socket], make: _Make
) -> None:
    _, accepted = pair
    watch = make(accepted)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await watch.wait(for_fin=False)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            watch.close()
            accepted.close()
