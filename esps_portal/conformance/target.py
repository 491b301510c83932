"""The implementation that is tested: where it is, and what it was configured with."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import trio

#: An address as `socket` takes it.
SocketAddress: TypeAlias = tuple[Any, ...]


@attrs.frozen
class Target:
    """A server.

    Attributes:
        family: of its address.
        address: where it listens, over TCP and UDP.
        transports: those to test.
        limits: the limits in force, by their names in section 10.
        process: the process identifier, if the runner started it; 0: it did not.
    """

    family: socket.AddressFamily
    address: SocketAddress
    transports: frozenset[str]
    limits: Mapping[str, float]
    process: int = 0


async def resolve(
    host: str, port: int, transports: frozenset[str], limits: Mapping[str, float]
) -> Target:
    """Return a server by its host and port.

    Args:
        host: a name or an address; the first address of a name is taken.
        transports: ``tcp``, ``udp`` or both.
        limits: the limits in force.

    Raises:
        OSError: the name has no address.
    """
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return Target(family, address, transports, limits)
