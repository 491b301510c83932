"""How many connections a server accepts, and what it sends to those that it refuses."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class AcceptPolicy:
    """What a server does with connections, whatever their protocol.

    Attributes:
        max_connections: at a time; more are refused.
        max_per_address: at a time from one address; 0: as many as there may be in all.
        refusal: what a refused one is sent before its FIN.
        linger: seconds for which its input is then discarded.
        handshake: seconds that its handshake of TLS may take, if there is one.
        watch: seconds; no handler's deadline is less far away when it is set.
        reads_proxy_header: whether each begins with a PROXY header, which names the client.
    """

    max_connections: int
    max_per_address: int = 0
    refusal: bytes = b""
    linger: float = 1.0
    handshake: float = 10.0
    watch: float = 60.0
    reads_proxy_header: bool = False
