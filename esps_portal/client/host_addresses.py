"""The addresses of a host, and a TCP connection to one of them, within a deadline. No trio here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from typing import Any, TypeAlias

from esps_portal.client.deadline import now_before, socket_timeout
from esps_portal.clock import monotonic
from esps_portal.protocol.errors import TimedOutError
from esps_portal.protocol.urls import PortalURL
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

#: What ``getaddrinfo`` returns for each address.
AddressInfo: TypeAlias = tuple[Any, ...]


def resolve(url: PortalURL, kind: socket.SocketKind, deadline: float) -> Sequence[AddressInfo]:
    """Return the addresses of the host of a URL, each as ``getaddrinfo`` does.

    The system's resolver cannot be interrupted: a name is asked for in a thread of its own, which
    nobody waits for once the deadline has passed.

    Raises:
        OSError: there is no such host.
        TimedOutError: the deadline has passed.
    """
    try:
        flags = socket.AI_NUMERICHOST
        return socket.getaddrinfo(url.host, url.port, type=kind, flags=flags)
    except OSError:
        pass  # it is a name
    found: Future[Sequence[AddressInfo]] = Future()

    def ask() -> None:
        try:
            found.set_result(socket.getaddrinfo(url.host, url.port, type=kind))
        except Exception as error:  # noqa: BLE001 - who waits gets it
            found.set_exception(error)

    threading.Thread(target=ask, name="esps-portal resolver", daemon=True).start()
    try:
        return found.result(socket_timeout(max(0.0, deadline - monotonic())))
    except NotInTime:
        raise TimedOutError(f"the name {url.host} was not resolved in time") from None


def connect_tcp(infos: Sequence[AddressInfo], deadline: float) -> socket.socket:
    """Return a socket that is connected to the first address that accepts.

    Raises:
        OSError: none does; that of the first one.
        TimedOutError: the deadline has passed.
    """
    failures: list[OSError] = []
    for family, kind, protocol, _, address in infos:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(socket_timeout(deadline - now_before(deadline)))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)  # ESPS-TCP-25
            sock.connect(address)
        except BaseException as error:
            sock.close()
            if isinstance(error, TimedOutError) or not isinstance(error, OSError):
                raise
            failures.append(error)
        else:
            return sock
    raise failures[0]
