"""What the registries say about a port number: IANA's, this system's, and the kernel's."""

from __future__ import annotations

import socket
from pathlib import Path

import attrs

from esps_portal.protocol.registry import PORT

# RFC 6335 section 6: three ranges, and the names that IANA and everybody else call them by.
_RANGES = (
    ("well-known", 0, 1023),
    ("registered", 1024, 49151),
    ("dynamic", 49152, 65535),
)
# Where Linux keeps the lowest port that everybody may bind (ip-sysctl: ip_unprivileged_port_start).
_FIRST_FREE = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@attrs.frozen
class Assignment:
    """An entry of IANA's Service Name and Transport Protocol Port Number Registry."""

    name: str
    transports: tuple[str, ...]
    registrant: str


@attrs.frozen
class PortFacts:
    """What is known of a port number without looking at any socket.

    Attributes:
        port: the number.
        range_name: ``well-known``, ``registered`` or ``dynamic``.
        first: the lowest number of that range.
        last: the highest.
        needs_root: whether an ordinary user of this machine may not bind it.
        iana: IANA's entry; known for 2867 alone.
        services: the name in the system's services database for each transport, if it has one.
    """

    port: int
    range_name: str
    first: int
    last: int
    needs_root: bool
    iana: Assignment | None
    services: dict[str, str | None]


_ASSIGNED = {PORT: Assignment("esps-portal", ("tcp", "udp"), "Nicholas Stowfis")}


def look_up(port: int) -> PortFacts:
    """Return the facts of ``port``, which lies between 0 and 65535."""
    name, first, last = next(row for row in _RANGES if row[1] <= port <= row[2])
    services = {transport: _service_name(port, transport) for transport in ("tcp", "udp")}
    needs_root = port < first_port_for_everybody()
    return PortFacts(port, name, first, last, needs_root, _ASSIGNED.get(port), services)


def first_port_for_everybody(setting: Path = _FIRST_FREE) -> int:
    """Return the lowest port that a user without privileges may bind here."""
    try:
        return int(setting.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _service_name(port: int, transport: str) -> str | None:
    try:
        return socket.getservbyport(port, transport)
    except OSError:
        return None
