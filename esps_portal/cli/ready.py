"""What a server prints once it listens: for a person, or as an event."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.output import has_stdout, print_json

if TYPE_CHECKING:
    from esps_portal.cli.reports import Reports
    from esps_portal.control.named_servers import NamedServer
    from esps_portal.net.listeners import Listeners
    from esps_portal.net.tls_server import ServerTLS


@attrs.frozen
class OtherAddresses:
    """What a server reports besides its listeners.

    Attributes:
        control: the URL of the control port; ``None``: there is none.
        upstream: what a proxy relays to; empty for a portal.
        metrics: the URL of the metrics; empty: there are none.
        tls: that of the TCP sockets; ``None``: they are plain.
        beside: the proxies and peers that were started as well, by their kind.
    """

    control: str | None
    upstream: str
    metrics: str
    tls: ServerTLS | None
    beside: Mapping[str, Sequence[NamedServer]]


def print_ready(
    reports: Reports, listeners: Listeners, others: OtherAddresses, *, dual_stack: bool
) -> None:
    """Print where a server listens.

    Args:
        reports: says for whom.
        dual_stack: whether the sockets on :: also accept IPv4.
    """
    if reports.events is not None:
        print_json(_ready_event(listeners, others))
    elif has_stdout():  # a daemon may have none
        click.echo("\n".join(_ready_lines(listeners, others, dual_stack=dual_stack)))


def _ready_event(listeners: Listeners, others: OtherAddresses) -> dict[str, object]:
    event: dict[str, object] = {
        "event": "ready",
        "tcp": [list(address) for address in listeners.tcp],
        "udp": [list(address) for address in listeners.udp],
        "control": others.control,
        "pid": os.getpid(),
    }
    if others.tls is not None:
        event |= {"tls": True, "tls_ca": others.tls.ca_file}
    for kind, servers in others.beside.items():
        if servers:
            event[kind] = {server.name: list(server.address) for server in servers}
    given = {"upstream": others.upstream, "metrics": others.metrics}
    return event | {name: value for name, value in given.items() if value}


def _ready_lines(listeners: Listeners, others: OtherAddresses, *, dual_stack: bool) -> list[str]:
    lines = [
        f"listening on {host} port {port} ({transport})"
        for transport, addresses in (
            ("TCP" if others.tls is None else "TLS", listeners.tcp),
            ("UDP", listeners.udp),
        )
        for host, port in addresses
    ]
    hosts = {host for host, _ in (*listeners.tcp, *listeners.udp)}
    if "::" in hosts and dual_stack:
        lines.append(":: accepts IPv4 as well.")
    elif "::" in hosts and "0.0.0.0" not in hosts:  # noqa: S104 - compared, not bound
        lines.append(":: accepts IPv6 only; for IPv4 add --host 0.0.0.0.")
    if others.upstream:
        lines.append(f"relaying to {others.upstream}")
    if others.tls is not None and others.tls.ca_file is not None:
        lines.append(f"clients trust --cafile {others.tls.ca_file}")
    if others.control is not None:
        lines.append(f"control on {others.control}")
    for server in (each for servers in others.beside.values() for each in servers):
        host, port = server.address
        lines.append(f"{server.noun} {server.name} on {host} port {port}")
    if others.metrics:
        lines.append(f"metrics on {others.metrics}")
    return [*lines, "Press Ctrl-C to stop."]
