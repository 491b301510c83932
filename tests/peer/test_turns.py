"""Many clients of a peer at a time: some are served in each pass of the loop."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing

from esps_portal.net.turns import ConnectionTurns, Turns
from esps_portal.peer.performer import Performer
from esps_portal.peer.units import PeerUnits
from esps_portal.testing import lines, open_peer
from tests.passes import Passes
from tests.patience import PATIENCE

CLIENTS, AT_ONCE = 12, 2
FRAMES = b"a\nb\nc\n"


@pytest.mark.parametrize(("worker", "work"), [(PeerUnits, "read"), (Performer, "answer")])
async def test_some_work_in_each_pass(
    worker: type[PeerUnits | Performer], work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_turns = Turns(AT_ONCE, seconds=PATIENCE)
    monkeypatch.setattr(
        "esps_portal.net.serving.ConnectionTurns", lambda: ConnectionTurns(work=work_turns)
    )
    monkeypatch.setattr("esps_portal.peer.connection._TURN_SECONDS", -1.0)  # each frame takes one
    passes, step = Passes(), getattr(worker, work)

    def noted(self: object, *args: object) -> object:
        passes.note(id(self))
        return step(self, *args)

    monkeypatch.setattr(worker, work, noted)
    async with open_peer(lines()) as peer, contextlib.AsyncExitStack() as stack:
        peer.handler(lambda frame, _: frame)
        streams = [
            await stack.enter_async_context(await trio.open_tcp_stream(peer.host, peer.port))
            for _ in range(CLIENTS)
        ]
        with passes.counted(), trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for stream in streams:
                    nursery.start_soon(ask, stream)
    # The first frame of a client is answered when it was read, and the others in turns; and one
    # that comes while the loop waits is counted for the next pass (`Turns`).
    assert passes.most <= 2 * AT_ONCE + 1
    assert passes.count >= CLIENTS


async def ask(stream: trio.SocketStream) -> None:
    await stream.send_all(FRAMES)
    answer = b""
    while answer != FRAMES:
        answer += await stream.receive_some()


async def test_who_was_waited_for_has_not_worked(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that asks now and then does not wait behind those who always have work."""
    turns = NotedTurns()
    monkeypatch.setattr(
        "esps_portal.net.serving.ConnectionTurns", lambda: ConnectionTurns(work=turns)
    )
    async with open_peer(lines()) as peer:
        peer.handler(lambda frame, _: frame)
        async with await trio.open_tcp_stream(peer.host, peer.port) as stream:
            for _ in range(3):
                await ask(stream)
                mock_clock.jump(1)
    assert not turns.count


class NotedTurns(Turns):
    """Counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def next(self) -> None:
        self.count += 1
        await super().next()
