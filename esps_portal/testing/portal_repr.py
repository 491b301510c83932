"""The repr of a portal, a proxy or a peer, for a REPL, a failed assertion, a debugger: one line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from esps_portal.framings.framing import framing_name
from esps_portal.mock.scripted import Script
from esps_portal.peer.state import PeerState
from esps_portal.proxy.state import ProxyState

# Stubs, and faults, that are shown (own choice); for the others a person needs the count only.
_SHOWN = 5


def address_text(host: str, port: int, transports: Collection[str]) -> str:
    """Return where a portal or a proxy is, such as ``at 127.0.0.1 port 2867 (TCP and UDP)``."""
    if not transports:
        return "in memory"
    return f"at {host} port {port} ({' and '.join(name.upper() for name in transports)})"


def portal_repr(where: str, script: Script, *, outage: str | None) -> str:
    """Return where a portal is and what is placed in it.

    The portal's loop is not asked: it may be stuck, and must not block whoever prints it.

    Args:
        outage: how it is down, if it is.
        where: see `address_text`.
    """
    parts = [
        f"portal {where}",
        *_list("stub", "stubs", script.stubs.all),
        *_list("stub of the session", "stubs of the session", list(script.stubs.permanent)),
        *_list("fault", "faults", list(script.faults.in_force)),
        *([f"down: {outage}"] if outage else []),
    ]
    return f"<{'; '.join(parts)}>"


def proxy_repr(where: str, state: ProxyState, *, is_down: bool) -> str:
    """Return where a proxy is, what it stands in front of, and the faults in force.

    Args:
        where: see `address_text`.
    """
    parts = [
        f"proxy {where}",
        f"upstream {state.upstream}",
        *_list("fault", "faults", list(state.faults.in_force)),
        *(["down"] if is_down else []),
    ]
    return f"<{'; '.join(parts)}>"


def peer_repr(where: str, state: PeerState, *, is_down: bool) -> str:
    """Return where a peer is, and what is placed in it.

    Args:
        where: see `address_text`.
    """
    parts = [
        f"peer {where}",
        f"framing {framing_name(state.framing)}",
        *_list("stub", "stubs", list(state.script.stubs)),
        *_list("fault", "faults", list(state.faults.in_force)),
        *(["down"] if is_down else []),
    ]
    return f"<{'; '.join(parts)}>"


def _list(singular: str, plural: str, placed: Sequence[object]) -> Iterable[str]:
    if placed:
        shown = [str(item) for item in placed[:_SHOWN]] + ["..."] * (len(placed) > _SHOWN)
        count = len(placed)
        yield f"{count} {singular if count == 1 else plural}: {', '.join(shown)}"
