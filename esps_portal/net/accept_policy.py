"""How many connections a server accepts, and what it sends to those that it refuses."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class AcceptPolicy:
    """How many connections a server accepts, and how it refuses others, for any protocol.

    Attributes:
        max_connections: at a time; more are refused.
        max_per_address: at a time from one address; 0: only max_connections counts.
        refusal: bytes that are sent to a refused client before FIN.
        linger: seconds for which a refused client's input is then discarded.
        handshake: seconds that the TLS handshake of a refused client may take.
        watch_interval: seconds; when a handler sets a deadline, it is at least this far away.
        reads_proxy_header: whether each begins with a PROXY header, which names the client.
    """

    max_connections: int
    max_per_address: int = 0
    refusal: bytes = b""
    linger: float = 1.0
    handshake: float = 10.0
    watch_interval: float = 60.0
    reads_proxy_header: bool = False
