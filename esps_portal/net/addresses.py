"""Socket addresses as literal hosts, and back; which hosts are loopback.

A link-local address of IPv6 means something on one interface only, its zone, which a socket
address has as a number of its own: as text it is ``fe80::1%eth0`` (RFC 4007, section 11).
"""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

from esps_portal.given_numbers import is_integer, shown_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# A socket address of IPv6: host, port, flow information, number of the zone.
_ZONE = 3
_MAX_PORT = 65535


def literal(address: tuple[Any, ...]) -> tuple[str, int]:
    """Return host and port of a socket address, the host with its zone if it has one.

    ``literal(("fe80::1", 9, 0, 2)) == ("fe80::1%eth0", 9)``
    """
    if len(address) <= _ZONE or not address[_ZONE]:
        return address[0], address[1]
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return socket.getnameinfo(address, numeric)[0], address[1]


def socket_address(family: int, host: str, port: int) -> tuple[Any, ...]:
    """Return the address to bind or to connect to, for a literal host.

    Raises:
        OSError: the host is of another family, or this machine has no such zone.
    """
    if "%" not in host:
        return host, port
    (info,) = socket.getaddrinfo(
        host, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    return info[4]


def check_port(_: object, __: object, port: object) -> None:
    """Check a port to listen on, 0 for a free one: a validator of attrs.

    Raises:
        ValueError: it is not a port number.
    """
    if not is_integer(port) or port > _MAX_PORT:
        raise ValueError(f"port must be a number from 0 to {_MAX_PORT}, got {shown_value(port)}")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: a literal address of loopback, or localhost."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
