"""The result of an inspection, printed as JSON or as text."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import attrs

from esps_portal.inspection import probe
from esps_portal.inspection.facts import PortFacts, look_up
from esps_portal.inspection.probe import ProbeResult, ProbeTarget
from esps_portal.inspection.sockets import CONNECTED, WILDCARDS, OpenSocket, SocketScan, scan
from esps_portal.inspection.tool_tables import ToolTable, tool_tables
from esps_portal.net.addresses import literal
from esps_portal.net.bind import is_own_address


class UnknownHostError(Exception):
    """The given host name cannot be resolved."""


@attrs.frozen
class Report:
    """What was found out about a port.

    Attributes:
        port: the number.
        host: the host that was given; ``None`` for this machine.
        scan: the sockets on this machine that use the port, and what could not be seen.
        results: what each address answered.
        facts: what the registries say.
    """

    port: int
    host: str | None
    scan: SocketScan
    results: tuple[ProbeResult, ...]
    facts: PortFacts

    @property
    def in_use(self) -> bool:
        """Whether the port is in use: a socket was seen, or an address answered."""
        return bool(self.scan.sockets) or any(map(_shows_in_use, self.results))

    @property
    def tables(self) -> tuple[ToolTable, ...]:
        """The sockets in the format of ``ss``, ``lsof`` and ``netstat``."""
        return tool_tables(self.scan.sockets, self.port)

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON object.

        Keys:
            port, host, held: what was asked for, and whether the port is in use.
            holders: the sockets: a list of transport, family, host, port, state, pid, fd, program,
                command (a list), user; null where it could not be seen.
            connections: the number of TCP connections with this local port, by state.
            unseen: what could not be seen, a list of strings.
            answers: a list of transport, host, port, verdict (``esps-1``, ``something else``,
                ``silent``, ``clear``, ``unreachable``), product (null without a greeting), message,
                excerpt, seconds, tls (whether it answered over TLS).
            facts: port, range_name, first, last, needs_root, iana (null, or name, transports,
                registrant), services (tcp and udp: a name or null).
            rows: the sockets in the format of ss, lsof and netstat, which were not run: for each a
                list of objects that map column headings to cells.
            tools: for ss, lsof and netstat: whether this machine has it.
        """
        return {
            "port": self.port,
            "host": self.host,
            "held": self.in_use,
            "holders": [attrs.asdict(each) for each in self.scan.sockets],
            "connections": self.scan.connections,
            "unseen": list(self.scan.hidden),
            "answers": [attrs.asdict(result) for result in self.results],
            "facts": attrs.asdict(self.facts),
            "rows": {table.program: _objects(table) for table in self.tables},
            "tools": {table.program: table.is_installed for table in self.tables},
        }


def inspect_port(port: int, host: str | None = None, timeout: float = 1.0) -> Report:
    """Find out who uses ``port`` and whether it speaks ESPS/1.

    Args:
        port: 1 to 65535.
        host: a name or address; only it is looked at. ``None``: all addresses of this machine.
        timeout: seconds that each address has to answer.

    Raises:
        UnknownHostError: ``host`` cannot be resolved.
    """
    addresses = [] if host is None else _resolve(host)
    seen = _scan_host(port, host, addresses)
    targets = _targets(seen.sockets, addresses, port)
    return Report(port, host, seen, tuple(probe.probe_all(targets, timeout)), look_up(port))


def _scan_host(port: int, host: str | None, addresses: list[str]) -> SocketScan:
    """Return the sockets that receive what is sent to these addresses; all without a host."""
    if host is None:
        return scan(port)
    if not any(map(is_own_address, addresses)):
        return SocketScan((), {}, (f"the sockets of {host}: it is another machine",))
    seen = scan(port)
    kept = [s for s in seen.sockets if any(_receives_for(s, address) for address in addresses)]
    return attrs.evolve(seen, sockets=tuple(kept))


def _targets(sockets: tuple[OpenSocket, ...], addresses: list[str], port: int) -> list[ProbeTarget]:
    """Return what to probe: the given addresses, or else the sockets that were seen.

    If no socket of a transport was seen, 127.0.0.1 is probed: a socket may be hidden, or a packet
    filter may redirect the port.
    """
    if addresses:
        return [ProbeTarget(t, address, port) for t in ("tcp", "udp") for address in addresses]
    targets = [
        ProbeTarget(s.transport, WILDCARDS.get(s.host, s.host), port)
        for s in sockets
        if s.state != CONNECTED  # it receives from its remote peer only
    ]
    without = {"tcp", "udp"} - {s.transport for s in sockets}
    targets += [ProbeTarget(transport, "127.0.0.1", port) for transport in sorted(without)]
    return list(dict.fromkeys(targets))


def _shows_in_use(result: ProbeResult) -> bool:
    # Silence over TCP comes after an accepted connection; over UDP it may be a packet filter.
    proofs = {probe.ESPS, probe.OTHER} | ({probe.SILENT} if result.transport == "tcp" else set())
    return result.verdict in proofs


def _objects(table: ToolTable) -> list[dict[str, str]]:
    header, *rows = table.rows
    return [dict(zip(header, row, strict=True)) for row in rows]


# ---- the given host ----------------------------------------------------------------------------


def _resolve(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownHostError(f"cannot resolve {host!r}: {reason}") from error
    addresses = dict.fromkeys(literal(address)[0] for *_, address in found)
    return [WILDCARDS.get(address, address) for address in addresses]


def _receives_for(open_socket: OpenSocket, address: str) -> bool:
    if open_socket.host == "::":  # IPv4 as well, unless IPV6_V6ONLY is set, which cannot be seen
        return True
    if open_socket.host in WILDCARDS:
        return ":" not in address
    return _canonical(open_socket.host) == _canonical(address)


def _canonical(address: str) -> str:
    """Return an address in its shortest form, without a zone; a mapped IPv4 address as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
