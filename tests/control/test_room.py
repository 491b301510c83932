from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from esps_portal.control.room import Room

PLACES = 3


@attrs.define(eq=False)
class Connection:
    """What a connection does, and what it was told."""

    waits_since: float | None = None
    is_held: bool = False
    gives_way: bool = True
    is_new: bool = False
    is_expected: bool = False
    told: str = ""

    def admit(self) -> None:
        self.told += "admitted "

    def refuse(self) -> None:
        self.told += "refused "

    def shut_down(self) -> None:
        self.told += "shut down "

    def abort(self) -> None:
        self.told += "aborted "


def told(connections: list[Connection]) -> list[str]:
    return [connection.told.strip() for connection in connections]


@pytest.fixture
def room() -> Room:
    return Room(PLACES)


def entered(room: Room, connections: list[Connection]) -> list[Connection]:
    for connection in connections:
        room.enter(connection)
    return connections


def test_who_is_idle_for_the_longest_gives_way(room: Room) -> None:
    connections = entered(
        room, [Connection(0.5, gives_way=False), Connection(2.0), Connection(1.0)]
    )
    newcomers = entered(room, [Connection(None)])
    assert told(connections) == ["admitted", "admitted", "admitted shut down"]
    newcomers += entered(room, [Connection(None)])
    assert told(connections) == ["admitted", "admitted shut down", "admitted shut down"]
    assert told(newcomers) == ["admitted", "admitted"]
    assert not room.is_wanted


def test_a_newcomer_waits_for_one_that_is_answered(room: Room) -> None:
    connections = entered(room, [Connection(), Connection(is_held=True), Connection(is_held=True)])
    newcomers = entered(room, [Connection(), Connection()])
    assert told(newcomers) == ["", ""]
    assert room.is_wanted
    room.leave(connections[0])
    assert told(newcomers) == ["admitted", ""]
    newcomers[0].waits_since = 5.0
    room.settle()
    assert told(newcomers) == ["admitted shut down", "admitted"]
    assert not room.is_wanted
    assert told(connections) == ["admitted"] * 3


def test_a_newcomer_is_refused_where_all_wait_themselves(room: Room) -> None:
    connections = entered(room, [Connection(is_held=True), Connection(is_held=True), Connection()])
    newcomers = entered(room, [Connection(), Connection()])
    connections[2].is_held = True
    room.settle()
    assert told(newcomers) == ["refused", "refused"]
    room.leave(newcomers[0])
    room.leave(connections[0])
    assert told(entered(room, [Connection()])) == ["admitted"]


async def test_who_may_still_send_its_first_request_is_spared(
    room: Room, autojump_clock: object
) -> None:
    first = Connection(1.0, is_new=True, is_expected=True)
    connections = entered(room, [first, Connection(2.0), Connection(3.0, is_new=True)])
    newcomers = entered(room, [Connection(4.0, is_new=True, is_expected=True)])
    assert told(connections) == ["admitted", "admitted shut down", "admitted"]
    newcomers += entered(room, [Connection(5.0)])
    assert told([first, connections[2]]) == ["admitted", "admitted shut down"]
    # One has kept its place without a request, so the others are not waited for.
    newcomers += entered(room, [Connection(6.0)])
    assert told([first, *newcomers]) == ["admitted shut down", *["admitted"] * 3]
    await trio.sleep(60)
    newcomers += entered(room, [Connection(7.0)])
    assert told(newcomers) == ["admitted", "admitted shut down", "admitted", "admitted"]


async def test_it_is_full_while_as_many_wait_as_are_served(room: Room) -> None:
    connections = entered(room, [Connection() for _ in range(PLACES)])
    assert not room.is_full
    newcomers = entered(room, [Connection() for _ in range(PLACES)])
    assert room.is_full
    # Who is refused takes room as long as it reads that.
    room.refuse(newcomers[0])
    room.refuse(newcomers[0])
    assert told(newcomers) == ["refused", "", ""]
    assert room.is_full
    async with trio.open_nursery() as nursery:
        nursery.start_soon(room.until_not_full)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        room.leave(newcomers[0])
    assert not room.is_full
    room.leave(connections[0])
    assert told(newcomers[1:]) == ["admitted", ""]


def test_who_has_had_its_last_reply_gives_its_place_back(room: Room) -> None:
    connections = entered(room, [Connection() for _ in range(PLACES)])
    newcomers = entered(room, [Connection(), Connection()])
    room.release(connections[1])
    assert told(newcomers) == ["admitted", ""]
    assert told(connections) == ["admitted"] * PLACES
    room.refuse(newcomers[1])
    room.release(newcomers[1])
    newcomers += entered(room, [Connection() for _ in range(PLACES - 1)])
    assert not room.is_full, "who has read that it is refused takes no room"


def test_as_many_may_have_had_their_last_reply_as_there_are_places(room: Room) -> None:
    connections = entered(room, [Connection() for _ in range(PLACES + 2)])
    for connection in connections[:4]:
        room.release(connection)
    assert told(connections)[:4] == ["admitted aborted", "admitted", "admitted", "admitted"]
    room.leave(connections[1])
    room.release(connections[4])
    assert told(connections)[1:] == ["admitted"] * 4
