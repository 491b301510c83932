"""Why a fault has not struck so far: its nearest miss, and how much its selectors matched."""

from __future__ import annotations

import attrs

from esps_portal.faults.target import FaultTarget, MissReason, NearMiss

# How many other services that were called are kept, to find the most similar name.
_MAX_PASSED = 64
# How many targets that ``match`` did not match are kept, and how many bytes of each.
_MAX_UNMATCHED = 16
_MAX_REQUEST_DATA = 256


@attrs.define
class NearMisses:
    """The misses of one fault that a report may show.

    Attributes:
        nearest: the nearest one.
        passed: the first call of each service that its service selector did not match.
        unmatched: the first targets that ``match`` did not match, by what the client sent.
    """

    nearest: NearMiss | None = None
    passed: dict[bytes, FaultTarget] = attrs.field(factory=dict)
    unmatched: dict[bytes, FaultTarget] = attrs.field(factory=dict)

    def add(self, reason: MissReason, target: FaultTarget, connection_number: int) -> None:
        """Note why the fault does not strike a target."""
        if reason is MissReason.SERVICE and target.service and len(self.passed) < _MAX_PASSED:
            self.passed.setdefault(target.service, _for_report(target))
        if reason is MissReason.MATCH and len(self.unmatched) < _MAX_UNMATCHED:
            self.unmatched.setdefault(target.request_data[:_MAX_REQUEST_DATA], _for_report(target))
        if self.nearest is None or reason > self.nearest.reason:
            self.nearest = NearMiss(reason, _for_report(target), connection_number)

    def add_no_change(self, size: int, offset: int, found_at: int) -> None:
        """Note that from ``offset`` on the fault changes nothing in a reply of ``size`` bytes.

        Args:
            found_at: see `NearMiss`.
        """
        miss = self.nearest
        if miss is None or (offset and miss.reply_size >= size):
            return  # a longer reply was nearer
        self.nearest = NearMiss(
            MissReason.NO_CHANGE, miss.target, reply_size=size, found_at=found_at
        )

    def explain(self, reason: MissReason) -> None:
        """Note why the fault does not strike the target that it has selected."""
        if self.nearest is not None and reason > self.nearest.reason:
            self.nearest = attrs.evolve(self.nearest, reason=reason)


def _for_report(target: FaultTarget) -> FaultTarget:
    """Return a target without its connection: a report must not keep that in memory."""
    return attrs.evolve(
        target, connection=None, counted={}, request_data=target.request_data[:_MAX_REQUEST_DATA]
    )
