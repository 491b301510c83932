"""Counts the connections, requests and replies that a fault selects, and numbers each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

import attrs

from esps_portal.faults.target import FaultTarget

#: Connections whose number is known: as many as one address has ports. Over TCP there are never so
#: many at a time (`Limits.max_connections`), and each is forgotten when it ends. Over UDP a source
#: never ends, and can be forged: the one that was silent for longest is forgotten.
MAX_NUMBERS = 65536


@attrs.define(eq=False)
class TargetCounts:
    """The counts of one fault: targets that match its selectors other than numbers.

    Attributes:
        connections, requests, replies: how many.
    """

    connections: int = 0
    requests: int = 0
    replies: int = 0
    _numbers: OrderedDict[Hashable, int] = attrs.field(factory=OrderedDict)

    def connection(self, connection: Hashable) -> int:
        """Return the number of a connection; a new one gets the next number."""
        number = self._numbers.get(connection)
        if number is not None:
            self._numbers.move_to_end(connection)
            return number
        self.connections += 1
        self._numbers[connection] = self.connections
        if len(self._numbers) > MAX_NUMBERS:
            self._numbers.popitem(last=False)
        return self.connections

    def known_connection(self, connection: Hashable) -> int:
        """Return the number of a connection; 0 if it has none."""
        return self._numbers.get(connection, 0)

    def request(self, target: FaultTarget) -> int:
        """Return the number of the target's request; several replies may belong to one."""
        number = target.counted.get(self)
        if number is None:
            self.requests += 1
            number = target.counted[self] = self.requests
        return number

    def reply(self) -> int:
        """Return the number of the next reply."""
        self.replies += 1
        return self.replies

    def forget(self, connection: Hashable) -> None:
        """Forget a connection that has ended. Its number is not given again."""
        self._numbers.pop(connection, None)
