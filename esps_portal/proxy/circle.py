"""Proxies of one process that point at each other: what would go round for ever is refused.

Each proxy notes from which address its own sockets towards the upstream come, and which client each
of them is for. Where such an address is the client of another proxy, the two belong to one chain;
what comes to a proxy for the second time on one chain goes round. Proxies of several processes are
bounded by their ``max_connections``.
"""

from __future__ import annotations

import socket

import attrs

from esps_portal.proxy.state import ProxyState

#: What is noted of a connection that goes round.
REASON = "it is this proxy itself, through another"

# A host and a port.
_Address = tuple[str, int]


@attrs.frozen(eq=False)
class Link:
    """A proxy's own socket towards its upstream, and the client that it is for.

    Attributes:
        address: of the socket; it says ``tcp`` or ``udp`` too.
    """

    state: ProxyState
    client: _Address
    address: tuple[str, _Address]

    @classmethod
    def note(cls, state: ProxyState, client: _Address, connected: socket.socket) -> Link:
        """Note a connected socket; `remove` it before the socket is closed."""
        transport = "tcp" if connected.type == socket.SOCK_STREAM else "udp"
        link = cls(state, client, (transport, _own_address(connected)))
        _links[link.address] = link
        return link

    def remove(self) -> None:
        """Forget it: another's socket may have that address next."""
        _links.pop(self.address, None)


# Proxies in several threads share it; each operation on it is atomic.
_links: dict[tuple[str, _Address], Link] = {}


def goes_round(state: ProxyState, transport: str, client: _Address) -> bool:
    """Whether what a client sends has come through the same proxy before."""
    for _ in range(len(_links)):
        link = _links.get((transport, client))
        if link is None:
            return False
        if link.state is state:
            return True
        client = link.client
    return False


def _own_address(connected: socket.socket) -> _Address:
    host, port = connected.getsockname()[:2]
    return host, port
