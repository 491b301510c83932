"""How many connections one pass of the loop accepts; the listening socket is real."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from esps_portal.net import acceptor as acceptor_module
from esps_portal.net.acceptor import Acceptor
from esps_portal.net.bind import bound
from esps_portal.net.silence import Silence
from esps_portal.net.turns import Turns
from tests.passes import Passes
from tests.patience import PATIENCE

COUNT = 200


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket at which so many clients wait."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bound(socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", 0))
        listener.listen(COUNT)
        for _ in range(COUNT):
            stack.enter_context(socket.create_connection(listener.getsockname(), PATIENCE))
        yield listener


@attrs.define
class Room:
    """One that lets in so many, and no more until `free` is set."""

    places: int
    free: trio.Event = attrs.field(factory=trio.Event)

    @property
    def is_full(self) -> bool:
        return self.places <= 0 and not self.free.is_set()

    async def until_not_full(self) -> None:
        await self.free.wait()


async def accepted_by(listener: socket.socket) -> Passes:
    """Accept all; return in which passes that was."""
    passes = Passes()
    done = trio.Event()

    def note(connected: socket.socket, address: tuple[str, int]) -> None:
        connected.close()
        passes.note(address)
        if passes.count == COUNT:
            done.set()

    acceptor = Acceptor(note, socket.socket.close, Silence())
    with passes.counted(), trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor.accept, listener)
            await done.wait()
            nursery.cancel_scope.cancel()
    return passes


async def test_a_pass_accepts_so_many(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_module, "monotonic", lambda: 0.0)
    assert (await accepted_by(listener)).most == 64


async def test_a_pass_accepts_for_so_long(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock finds that 2 ms have passed; 5 ms are enough for three.
    times = partial(next, itertools.count(step=0.002))
    monkeypatch.setattr(acceptor_module, "monotonic", times)
    assert (await accepted_by(listener)).most == 3


async def test_a_pass_accepts_one_at_least(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_module, "monotonic", partial(next, itertools.count()))
    passes = await accepted_by(listener)
    assert (passes.most, passes.count) == (1, COUNT)


async def test_a_full_room_leaves_them_in_the_queue(listener: socket.socket) -> None:
    room = Room(5)
    accepted: list[object] = []
    seen = trio.Event()

    def note(connected: socket.socket, address: tuple[str, int]) -> None:
        connected.close()
        accepted.append(address)
        room.places -= 1
        if len(accepted) in {5, COUNT}:
            seen.set()

    acceptor = Acceptor(note, socket.socket.close, Silence(), room)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor.accept, listener)
            await seen.wait()
            await trio.testing.wait_all_tasks_blocked()
            assert len(accepted) == 5
            seen = trio.Event()
            room.free.set()
            await seen.wait()
            nursery.cancel_scope.cancel()


async def test_it_waits_for_its_turn(listener: socket.socket) -> None:
    """Those that were accepted before have much to do."""
    accepted: list[object] = []
    event, done = trio.Event(), trio.Event()

    class Held(Turns):
        async def begin(self) -> None:
            await event.wait()

    def note(connected: socket.socket, address: tuple[str, int]) -> None:
        connected.close()
        accepted.append(address)
        if len(accepted) == COUNT:
            done.set()

    acceptor = Acceptor(note, socket.socket.close, Silence(), turns=Held())
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(acceptor.accept, listener)
            await trio.testing.wait_all_tasks_blocked()
            assert not accepted
            event.set()
            await done.wait()
            nursery.cancel_scope.cancel()
