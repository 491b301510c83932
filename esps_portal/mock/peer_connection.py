"""A connection of a peer, as a handler sees it."""

from __future__ import annotations

from typing import Any

import attrs

from esps_portal.exports import public_names


@attrs.define(eq=False)
class PeerConnection:
    """A connection; over UDP all datagrams of one client.

    Attributes:
        number: as in the journal.
        remote: the client's address and port.
        transport: ``tcp`` or ``udp``.
        state: for the handler to keep what it needs, such as whether the client has logged in.
    """

    number: int
    remote: tuple[str, int]
    transport: str
    state: dict[str, Any] = attrs.field(factory=dict)
    _end: str = attrs.field(default="", repr=False)

    def close(self) -> None:
        """End the connection with FIN, after what the handler returns. No effect over UDP."""
        self._end = "close"

    def reset(self) -> None:
        """End the connection with RST, after what the handler returns. No effect over UDP."""
        self._end = "reset"

    @property
    def requested_end(self) -> str:
        """How the handler ends it: ``close`` or ``reset``; empty: it does not."""
        return self._end

    def __dir__(self) -> list[str]:
        return [name for name in public_names(self) if name != "requested_end"]
