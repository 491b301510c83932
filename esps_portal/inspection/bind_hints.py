"""Hints about an address that cannot be bound, to be added to the error message."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import attrs

from esps_portal.net.bind import WILDCARDS, CannotBindError
from esps_portal.protocol.escape import visible
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    from esps_portal.inspection.sockets import OpenSocket

_MAX_ADDRESSES = 6


@attrs.frozen
class BindOptions:
    """How a user sets the address.

    Attributes:
        port, host: the names of the options.
        sign: what is between a name and a value.
    """

    port: str = "--port"
    host: str = "--host"
    sign: str = " "

    def set_port(self, port: object) -> str:
        """Return what sets the port."""
        return f"{self.port}{self.sign}{port}"

    def set_host(self, host: str) -> str:
        """Return what sets the host."""
        return f"{self.host}{self.sign}{host}"


def bind_hint(error: CannotBindError, options: BindOptions) -> str:
    """Return a hint to add to the error message; it may be empty.

    Args:
        error: why a socket cannot be bound.
        options: those that set the address.
    """
    if error.covered_by:
        return f"; remove {options.set_host(error.host)}"
    if error.is_unknown_host:
        return _for_unknown_host(error.host, options)
    if error.errno == errno.EADDRINUSE:
        if error.is_shared:
            advice = "to share it, each process needs --reuse-port and the same user"
        else:
            advice = f"try another {options.port}, or {options.set_port(0)}"
        return f"{_by_process(error)}; {advice}"
    if error.errno in (errno.EACCES, errno.EPERM):
        root = "that port needs root, or CAP_NET_BIND_SERVICE"
        return f"; {root}; try {options.set_port(PORT)}"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL):
        return f"; the addresses of this machine are {', '.join(_own_addresses())}"
    return ""


def _for_unknown_host(text: str, options: BindOptions) -> str:
    host, _, port = text.partition(":")
    if host and port.isascii() and port.isdigit():
        return f"; write {options.set_host(host)} and {options.set_port(port)}"
    return f"; use another {options.host}"


def _by_process(error: CannotBindError) -> str:
    """Return the processes that use the port, if they are visible."""
    from esps_portal.inspection.sockets import scan  # noqa: PLC0415 - psutil is slow to import

    conflicts = [s for s in scan(error.port).sockets if _conflicts(s, error)]
    processes = {
        f"{visible(s.program or '?')} (pid {s.pid})" for s in conflicts if s.pid is not None
    }
    return f" by {', '.join(sorted(processes))}" if processes else ""


def _conflicts(open_socket: OpenSocket, error: CannotBindError) -> bool:
    if open_socket.transport != error.transport:
        return False
    # A socket on :: may accept IPv4 as well.
    overlaps = open_socket.host == "::" or (":" in open_socket.host) == (":" in error.host)
    both = {open_socket.host, error.host}
    return overlaps and (len(both) == 1 or not both.isdisjoint(WILDCARDS.values()))


def _own_addresses() -> list[str]:
    import psutil  # noqa: PLC0415 - it is slow to import

    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        # An address with a zone, fe80::1%eth0, is of no use as a host.
        if address.family in WILDCARDS and "%" not in address.address
    ]
    more = ["and others"] if len(found) > _MAX_ADDRESSES else []
    return [*found[:_MAX_ADDRESSES], *more]
