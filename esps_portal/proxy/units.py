"""The interface that cuts the bytes of a relayed connection into units: `unframed` and `framed`."""

from __future__ import annotations

from typing import Protocol

from esps_portal.exchanges.live_exchange import SideActions


class Units(Protocol):
    """Cuts what both sides send into units, and has faults act on them.

    Each method returns what to do in place of passing the bytes on; ``None``: pass them on.
    """

    def from_client(self, data: bytes, now: float, *, is_early: bool) -> list[SideActions] | None:
        """Take what the client has sent; ``is_early``: a reply was still under way."""

    def from_server(self, data: bytes, now: float) -> list[SideActions] | None:
        """Take what the server has sent."""

    def ended(self, side: str, now: float, *, is_cut: bool = False) -> list[SideActions]:
        """One side sends nothing more, or (``is_cut``) is no longer read."""

    def explain(self) -> None:
        """Let faults record why they have not struck what is still going on."""

    def closed(self, now: float, *, gracefully: bool) -> None:
        """The connection has ended; ``gracefully``: both sides have sent FIN."""
