"""What a test places and may end early: a fault, an outage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import attrs

from esps_portal.portal.faults import Fault


@attrs.define(eq=False, repr=False)
class PlacedFault:
    """A fault in force. It ends with the ``with`` block, by `remove`, or when the test does."""

    fault: Fault
    _remove: Callable[[], None]

    def remove(self) -> None:
        """End it. Requests that it has hit stay as they are."""
        self._remove()

    @property
    def happened(self) -> int:
        """How often it happened."""
        return self.fault.happened

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __str__(self) -> str:
        return str(self.fault)

    def __repr__(self) -> str:
        return f"<fault {self}, happened {self.happened} times>"


@attrs.define(eq=False, repr=False)
class Outage:
    """The portal is down. It ends with the ``with`` block, by `up`, or when the test does."""

    _end: Callable[[Outage], None]
    _is_over: bool = False

    def up(self) -> None:
        """End it. The portal is up again when its last outage has ended."""
        self._is_over = True
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.up()

    def __repr__(self) -> str:
        return f"<outage, {'over' if self._is_over else 'in force'}>"
