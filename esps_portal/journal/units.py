"""Collects the bytes of each side of an exchange into units, for those who record them.

A datagram and a frame are units as they are. Otherwise a unit is known to have ended once the other
side sends, or the exchange ends; until then a long one is passed on in parts, so that memory stays
bounded and a recording has every byte.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from esps_portal.journal.records import MAX_SIDE, RecordedExchange, RecordedUnit


@attrs.define
class _Unit:
    sender: str
    at: float
    data: bytearray


class UnitCollector:
    """Collects units.

    Args:
        emit: called with each unit, or part of one, and the time when its first byte was read.

    Attributes:
        on_waiting: called when bytes begin to wait for the end of their unit, or for `flush`.
    """

    def __init__(self, emit: Callable[[RecordedUnit, float], None]) -> None:
        self._emit = emit
        self.on_waiting: Callable[[], None] = lambda: None
        self._units: dict[RecordedExchange, _Unit] = {}

    def add_whole(self, exchange: RecordedExchange, sender: str, data: bytes, at: float) -> None:
        """Pass on a datagram or a frame of one side, after bytes before it that are not a unit."""
        self.end(exchange)
        while len(data) > MAX_SIDE:
            self._emit(RecordedUnit(exchange, sender, data[:MAX_SIDE], continues=True), at)
            data = data[MAX_SIDE:]
        self._emit(RecordedUnit(exchange, sender, data), at)

    def add(self, exchange: RecordedExchange, sender: str, data: bytes, at: float) -> None:
        """Add bytes of one side."""
        unit = self._units.get(exchange)
        if unit is not None and unit.sender != sender:
            self.end(exchange)
            unit = None
        if unit is None:
            unit = self._units[exchange] = _Unit(sender, at, bytearray())
        if not unit.data:  # what came before, if anything, was passed on
            unit.at = at
            self.on_waiting()
        unit.data += data
        while len(unit.data) > MAX_SIDE:
            part = bytes(unit.data[:MAX_SIDE])
            del unit.data[:MAX_SIDE]
            self._emit(RecordedUnit(exchange, sender, part, continues=True), unit.at)
            unit.at = at

    def flush(self) -> None:
        """Pass on what has come of the units that go on, as parts of them."""
        for exchange, unit in self._units.items():
            if unit.data:
                part = bytes(unit.data)
                unit.data.clear()
                self._emit(RecordedUnit(exchange, unit.sender, part, continues=True), unit.at)

    def forget(self) -> None:
        """Forget the units that go on: nobody records them any more."""
        self._units.clear()

    def end(self, exchange: RecordedExchange) -> None:
        """End the unit that is being collected, if there is one."""
        unit = self._units.pop(exchange, None)
        if unit is not None:
            self._emit(RecordedUnit(exchange, unit.sender, bytes(unit.data)), unit.at)
