"""What the registries say about a port number: IANA's, this system's, and the kernel's."""

from __future__ import annotations

import socket
from pathlib import Path

import attrs

from esps_portal.protocol.registry import PORT

# RFC 6335 section 6: the three ranges, by their usual names.
_RANGES = (
    ("well-known", 0, 1023),
    ("registered", 1024, 49151),
    ("dynamic", 49152, 65535),
)
# The lowest port that any user may bind (Linux, ip-sysctl.rst: ip_unprivileged_port_start).
_UNPRIVILEGED_PORT_START = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@attrs.frozen
class Assignment:
    """An entry of IANA's Service Name and Transport Protocol Port Number Registry."""

    name: str
    transports: tuple[str, ...]
    registrant: str


@attrs.frozen
class PortFacts:
    """What is known about a port number without looking at any socket.

    Attributes:
        port: the number.
        range_name: ``well-known``, ``registered`` or ``dynamic``.
        first: the lowest number of that range.
        last: the highest number of that range.
        needs_root: whether only root may bind it on this machine.
        iana: IANA's entry; known for 2867 only.
        services: for each transport the name in the system's services database, or ``None``.
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
    """Return the facts about ``port``, a number from 0 to 65535."""
    name, first, last = next(row for row in _RANGES if row[1] <= port <= row[2])
    services = {transport: _service_name(port, transport) for transport in ("tcp", "udp")}
    needs_root = port < unprivileged_port_start()
    return PortFacts(port, name, first, last, needs_root, _ASSIGNED.get(port), services)


def unprivileged_port_start(setting: Path = _UNPRIVILEGED_PORT_START) -> int:
    """Return the lowest port that a user without privileges may bind; 1024 if it is unknown."""
    try:
        return int(setting.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _service_name(port: int, transport: str) -> str | None:
    try:
        return socket.getservbyport(port, transport)
    except OSError:
        return None
