"""The state that a portal, a proxy and a peer all have: what is placed, and what happened."""

from __future__ import annotations

from typing import Protocol

from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.journal.journal import Journal


class ServerState(Protocol):
    """The state of a `ScriptedPortal`, of a proxy or of a peer."""

    @property
    def faults(self) -> FaultRegistry:
        """The placed faults, and which ones may be placed."""

    @property
    def journal(self) -> Journal:
        """What happened."""

    @property
    def exchanges(self) -> Journal:
        """The journal with the exchanges; a proxy of a portal has a second one for them."""

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""

    @property
    def is_busy(self) -> bool:
        """Whether something goes on that is neither read nor a task; see `become_quiet`."""

    def start_clock(self, now: float) -> None:
        """Count the times of all journals from now."""

    def clear(self) -> None:
        """Forget what was placed and what has happened."""

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""
