from __future__ import annotations

import attrs
import pytest

from esps_portal.control.room import Room

PLACES = 3


@attrs.define(eq=False)
class Guest:
    """What a connection does, and what it was told."""

    waits_since: float | None = None
    is_held: bool = False
    gives_way: bool = True
    told: str = ""

    def admit(self) -> None:
        self.told += "admitted "

    def refuse(self) -> None:
        self.told += "refused "

    def shut_down(self) -> None:
        self.told += "shut down "


def told(guests: list[Guest]) -> list[str]:
    return [guest.told.strip() for guest in guests]


@pytest.fixture
def room() -> Room:
    return Room(PLACES)


def entered(room: Room, guests: list[Guest]) -> list[Guest]:
    for guest in guests:
        room.enter(guest)
    return guests


def test_who_is_idle_for_the_longest_gives_way(room: Room) -> None:
    guests = entered(room, [Guest(0.5, gives_way=False), Guest(2.0), Guest(1.0)])
    newcomers = entered(room, [Guest(None)])
    assert told(guests) == ["admitted", "admitted", "admitted shut down"]
    newcomers += entered(room, [Guest(None)])
    assert told(guests) == ["admitted", "admitted shut down", "admitted shut down"]
    assert told(newcomers) == ["admitted", "admitted"]
    assert not room.is_wanted


def test_a_newcomer_waits_for_one_that_is_answered(room: Room) -> None:
    guests = entered(room, [Guest(), Guest(is_held=True), Guest(is_held=True)])
    newcomers = entered(room, [Guest(), Guest()])
    assert told(newcomers) == ["", ""]
    assert room.is_wanted
    room.leave(guests[0])
    assert told(newcomers) == ["admitted", ""]
    newcomers[0].waits_since = 5.0
    room.settle()
    assert told(newcomers) == ["admitted shut down", "admitted"]
    assert not room.is_wanted
    assert told(guests) == ["admitted"] * 3


def test_a_newcomer_is_refused_where_all_wait_themselves(room: Room) -> None:
    guests = entered(room, [Guest(is_held=True), Guest(is_held=True), Guest()])
    newcomers = entered(room, [Guest(), Guest()])
    guests[2].is_held = True
    room.settle()
    assert told(newcomers) == ["refused", "refused"]
    room.leave(newcomers[0])
    room.leave(guests[0])
    assert told(entered(room, [Guest()])) == ["admitted"]


def test_as_many_wait_as_are_served_and_others_are_closed(room: Room) -> None:
    entered(room, [Guest() for _ in range(PLACES)])
    newcomers = entered(room, [Guest() for _ in range(PLACES + 1)])
    assert told(newcomers) == ["", "", "", "shut down"]
    # Who is refused takes room as long as it reads that.
    room.refuse(newcomers[0])
    room.refuse(newcomers[0])
    assert told([newcomers[0], *entered(room, [Guest()])]) == ["refused", "shut down"]
    room.leave(newcomers[0])
    assert told(entered(room, [Guest()])) == [""]
