"""The whole of an inspection: made once, then said as JSON or in lines for a person."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import attrs

from esps_portal.inspection import probe
from esps_portal.inspection.facts import PortFacts, look_up
from esps_portal.inspection.holders import CONNECTED, WILDCARDS, Holder, SocketScan, scan
from esps_portal.inspection.probe import Answer, Target
from esps_portal.inspection.tool_tables import Table, tables
from esps_portal.net.bind import is_own_address


class UnknownHostError(Exception):
    """The host that was named has no address."""


@attrs.frozen
class Report:
    """What was found out about a port.

    Attributes:
        port: the number.
        host: the one host that was asked about, or None: this machine.
        sight: what has the port on this machine, and what could not be seen.
        answers: what each address answered.
        facts: what the registries say.
    """

    port: int
    host: str | None
    sight: SocketScan
    answers: tuple[Answer, ...]
    facts: PortFacts

    @property
    def held(self) -> bool:
        """Whether something has the port: a socket that was seen, or one that answered."""
        return bool(self.sight.holders) or any(map(_proves_a_holder, self.answers))

    @property
    def tables(self) -> tuple[Table, ...]:
        """Our own findings, in the form in which ``ss``, ``lsof`` and ``netstat`` show theirs."""
        return tables(self.sight.holders, self.port)

    def as_json(self) -> dict[str, Any]:
        """Return one JSON object.

        Keys:
            port, host, held: what was asked, and whether anything has the port.
            holders: a list of transport, family, host, port, state, pid, fd, program, command (a
                list), user; null where it could not be seen.
            connections: TCP connections with this local port, their number by state.
            unseen: a list of sentences.
            answers: a list of transport, host, port, verdict (``esps-1``, ``something else``,
                ``silent``, ``clear``, ``unreachable``), product (null without a greeting), message,
                excerpt, seconds.
            facts: port, range_name, first, last, needs_root, iana (null, or name, transports,
                registrant), services (tcp and udp: a name or null).
            rows: our own findings in the form of ss, lsof and netstat, which were not run: for each
                a list of objects, each column's heading to its cell.
            tools: ss, lsof and netstat: whether this machine has it.
        """
        return {
            "port": self.port,
            "host": self.host,
            "held": self.held,
            "holders": [attrs.asdict(holder) for holder in self.sight.holders],
            "connections": self.sight.connections,
            "unseen": list(self.sight.unseen),
            "answers": [attrs.asdict(answer) for answer in self.answers],
            "facts": attrs.asdict(self.facts),
            "rows": {table.program: _objects(table) for table in self.tables},
            "tools": {table.program: table.is_here for table in self.tables},
        }


def inspect_port(port: int, host: str | None = None, timeout: float = 1.0) -> Report:
    """Find out about ``port``, on this machine or at ``host``.

    Raises:
        UnknownHostError: ``host`` has no address.
    """
    hosts = [] if host is None else _addresses(host)
    here = host is None or any(map(is_own_address, hosts))
    sight = (
        scan(port)
        if here
        else SocketScan((), {}, (f"what runs on {host}: it is not this machine",))
    )
    if hosts and here:
        kept = tuple(h for h in sight.holders if any(_covers(h, address) for address in hosts))
        sight = attrs.evolve(sight, holders=kept)
    targets = _targets(sight.holders, hosts, port)
    return Report(port, host, sight, tuple(probe.ask_all(targets, timeout)), look_up(port))


def _targets(holders: tuple[Holder, ...], hosts: list[str], port: int) -> list[Target]:
    """Return whom to ask: the hosts that were named, else where sockets were seen.

    Where none was seen 127.0.0.1 is asked all the same: a socket may be out of sight, and a
    packet filter may lead elsewhere.
    """
    if hosts:
        return [Target(t, host, port) for t in ("tcp", "udp") for host in hosts]
    targets = [
        Target(h.transport, WILDCARDS.get(h.host, h.host), port)
        for h in holders
        if h.state != CONNECTED  # it hears nobody but its peer
    ]
    without = {"tcp", "udp"} - {holder.transport for holder in holders}
    targets += [Target(transport, "127.0.0.1", port) for transport in sorted(without)]
    return list(dict.fromkeys(targets))


def _proves_a_holder(answer: Answer) -> bool:
    # A silent UDP port may be a packet filter's; a TCP connection was taken by somebody.
    proofs = {probe.ESPS, probe.OTHER} | ({probe.SILENT} if answer.transport == "tcp" else set())
    return answer.verdict in proofs


def _objects(table: Table) -> list[dict[str, str]]:
    header, *rows = table.rows
    return [dict(zip(header, row, strict=True)) for row in rows]


# ---- the host that was named --------------------------------------------------------------------


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnknownHostError(f"{host!r} has no address: {reason}") from error
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    return [WILDCARDS.get(address, address) for address in addresses]


def _covers(holder: Holder, address: str) -> bool:
    if holder.host == "::":  # it takes IPv4 too, unless it was told not to: not to be seen here
        return True
    if holder.host in WILDCARDS:
        return ":" not in address
    return _plain(holder.host) == _plain(address)


def _plain(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)
