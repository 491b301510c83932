"""What to do about an address that cannot be bound, in words that follow the error."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from esps_portal.net.bind import WILDCARDS, CannotBindError
from esps_portal.protocol.escape import visible
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    from esps_portal.inspection.holders import Holder

_MOST_ADDRESSES = 6


def bind_hint(error: CannotBindError, option: str) -> str:
    """Return a hint, to be added to the error; it may be empty.

    Args:
        option: the one that changes the port.
    """
    if error.covered_by:
        return f"; leave out --host {error.host}"
    if error.is_unknown_host:
        return "; name another --host"
    if error.errno == errno.EADDRINUSE:
        return f"{_by_whom(error)}; try another {option}, or {option} 0"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"; that port needs root, or CAP_NET_BIND_SERVICE; try {option} {PORT}"
    if error.errno in (errno.EADDRNOTAVAIL, errno.EINVAL):
        return f"; this machine has {', '.join(_own_addresses())}"
    return ""


def _by_whom(error: CannotBindError) -> str:
    """Return who holds the port, if that can be seen."""
    from esps_portal.inspection.holders import scan  # noqa: PLC0415 - psutil is slow to import

    holders = [h for h in scan(error.port).holders if _is_in_the_way(h, error)]
    seen = {f"{visible(h.program or '?')} (pid {h.pid})" for h in holders if h.pid is not None}
    return f" by {', '.join(sorted(seen))}" if seen else ""


def _is_in_the_way(holder: Holder, error: CannotBindError) -> bool:
    if holder.transport != error.transport:
        return False
    # A socket on :: may hold IPv4 as well.
    overlaps = holder.host == "::" or (":" in holder.host) == (":" in error.host)
    both = {holder.host, error.host}
    return overlaps and (len(both) == 1 or not both.isdisjoint(WILDCARDS.values()))


def _own_addresses() -> list[str]:
    import psutil  # noqa: PLC0415 - it is slow to import

    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        # One with a zone, fe80::1%eth0, is no use here.
        if address.family in WILDCARDS and "%" not in address.address
    ]
    more = ["and others"] if len(found) > _MOST_ADDRESSES else []
    return [*found[:_MOST_ADDRESSES], *more]
