"""The servers that a control port starts beside the main one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio

from esps_portal.control.named_servers import NamedServers
from esps_portal.control.server_kinds import PEERS, PROXIES
from esps_portal.faults.fault import Fault


def servers_beside(
    nursery: trio.Nursery, on_fault: Callable[[Fault], None] = lambda _: None
) -> dict[str, NamedServers]:
    """Return them by their kind, which is the name of the resource; there are none yet.

    Args:
        nursery: where they run.
        on_fault: called with each fault that is placed on one.
    """
    proxies = NamedServers(nursery, partial(PROXIES.read_and_prepare, on_fault))
    peers = NamedServers(nursery, partial(PEERS.read_and_prepare, on_fault))
    # A scenario has both, and a command gets variables for each.
    proxies.others, peers.others = (peers,), (proxies,)
    return {"proxies": proxies, "peers": peers}
