"""The implementation that is tested: where it is, and what it was configured with."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import trio

#: An address as `socket` takes it.
SocketAddress: TypeAlias = tuple[Any, ...]

#: The defaults of section 10, which a server has unless its operator has set another value.
DEFAULT_LIMITS: Mapping[str, float] = {
    "max-line": 8192,
    "max-unterminated": 65536,
    "max-in-flight": 64,
    "max-connections": 10240,
    "max-datagram": 1200,
    "amplification": 3,
    "idle": 600,
    "stall": 30,
    "drain": 5,
    "linger": 1,
    "window": 60,
    "max-remembered": 4096,
}


@attrs.frozen
class Target:
    """A server.

    Attributes:
        name: as the user wrote it.
        family: of its address.
        address: where it listens, over TCP and UDP.
        transports: those to test.
        limits: the limits in force, as far as they are known; else the defaults.
        process: the process identifier, if the runner started it; 0: it did not.
    """

    name: str
    family: socket.AddressFamily
    address: SocketAddress
    transports: frozenset[str]
    limits: Mapping[str, float]
    process: int = 0


async def resolve(
    name: str, host: str, port: int, transports: frozenset[str], limits: Mapping[str, float]
) -> Target:
    """Return a server by its host and port.

    Args:
        name: for reports.
        host: a name or an address; the first address of a name is taken.
        transports: ``tcp``, ``udp`` or both.
        limits: those that the server was configured with; the others have their defaults.

    Raises:
        OSError: the name has no address.
    """
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return Target(name, family, address, transports, {**DEFAULT_LIMITS, **limits})
