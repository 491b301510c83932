"""Detects loops of proxies in one process that point at each other.

Each proxy notes the addresses of its sockets towards the upstream, and the client that each socket
is for. Where another proxy has a client with such an address, the two are linked. Whatever reaches
a proxy for the second time along such links is in a loop, and is refused. Among proxies of several
processes no loop is detected: a connection ends where one of them has no room for more
(``max_connections``, or no descriptor is left), and a datagram when its TTL is used up
(`esps_portal.proxy.flow`).
"""

from __future__ import annotations

import socket

import attrs

from esps_portal.proxy.state import ProxyState

#: Why a connection in a loop is refused.
REASON = "it is this proxy itself, through another"

# A host and a port.
_Address = tuple[str, int]


@attrs.frozen
class Leg:
    """The connection of one client to a proxy: its transport, ``tcp`` or ``udp``, and addresses.

    Attributes:
        client: the address of the client.
        own: our address, since two TCP connections may have one client address; UDP: ``None``.
    """

    transport: str
    client: _Address
    own: _Address | None = None


@attrs.frozen(eq=False)
class Link:
    """A proxy's own socket towards its upstream.

    Attributes:
        inbound: the connection of the client that the socket is for.
        outbound: the connection to the upstream, as the upstream sees it.
    """

    state: ProxyState
    inbound: Leg
    outbound: Leg

    @classmethod
    def note(cls, state: ProxyState, inbound: Leg, connected: socket.socket) -> Link:
        """Note a connected socket; `remove` it before the socket is closed.

        Raises:
            OSError: it has been reset.
        """
        own = _address(connected.getsockname())
        peer = _address(connected.getpeername()) if inbound.own is not None else None
        link = cls(state, inbound, Leg(inbound.transport, own, peer))
        _links[link.outbound] = link
        return link

    def remove(self) -> None:
        """Forget it: another socket may have these addresses next."""
        _links.pop(self.outbound, None)


# Proxies in several threads share it; each operation on it is atomic.
_links: dict[Leg, Link] = {}


def is_loop(state: ProxyState, inbound: Leg) -> bool:
    """Whether what comes from a client has passed through the same proxy before."""
    for _ in range(len(_links)):
        link = _links.get(inbound)
        if link is None:
            return False
        if link.state is state:
            return True
        inbound = link.inbound
    return False


def _address(found: tuple[str, int]) -> _Address:
    """Return host and port; over IPv6 there are two numbers more."""
    return found[0], found[1]
