"""The implementation that is tested: where it is, and what it was configured with."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs
import trio

from esps_portal.conformance.outcome import UnsupportedError

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
        tls: what is trusted over TLS; ``None``: TCP is plain.
        host: the name or address that its certificate is to be for.
        process: the process identifier, if the runner started it; 0: it did not.
    """

    family: socket.AddressFamily
    address: SocketAddress
    transports: frozenset[str]
    limits: Mapping[str, float]
    process: int = 0
    tls: ssl.SSLContext | None = None
    host: str = ""

    def shut_down(self) -> None:
        """Tell the server to end.

        Raises:
            UnsupportedError: the runner did not start it.
        """
        if self.process == 0:
            raise UnsupportedError("needs a server that can be ended")
        os.kill(self.process, signal.SIGTERM)


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
    return Target(family, address, transports, limits, host=host)
