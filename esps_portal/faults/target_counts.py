"""How many connections, requests and replies a fault has counted, and the number of each."""

from __future__ import annotations

from collections.abc import Hashable

import attrs

from esps_portal.faults.target import FaultTarget


@attrs.define(eq=False)
class TargetCounts:
    """The counts of one fault: of what matched the selectors before the number.

    Attributes:
        connections, requests, replies: how many.
    """

    connections: int = 0
    requests: int = 0
    replies: int = 0
    _numbers: dict[Hashable, int] = attrs.field(factory=dict)

    def connection(self, connection: Hashable) -> int:
        """Return the number of a connection; a new one gets the next number."""
        number = self._numbers.get(connection)
        if number is None:
            self.connections += 1
            number = self._numbers[connection] = self.connections
        return number

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
