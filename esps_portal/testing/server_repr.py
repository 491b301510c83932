"""The repr of a portal, a proxy or a peer, for a REPL, a failed assertion, a debugger: one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from esps_portal.framings.framing import framing_name
from esps_portal.mock.scripted import Script
from esps_portal.peer.state import PeerState
from esps_portal.proxy.state import ProxyState
from esps_portal.testing.served import ServerAddress

# Stubs, and faults, that are shown (own choice); for the others a person needs the count only.
_SHOWN = 5


def portal_repr(address: ServerAddress, script: Script, *, outage: str | None) -> str:
    """Return where a portal is and what is placed in it.

    The portal's loop is not asked: it may be stuck, and printing must not block.

    Args:
        outage: how it is down, if it is.
    """
    parts = [
        f"portal {address}",
        *_list("stub", "stubs", script.stubs.all),
        *_list("stub of the session", "stubs of the session", list(script.stubs.permanent)),
        *_list("fault", "faults", list(script.faults.in_force)),
        *([f"down: {outage}"] if outage else []),
    ]
    return f"<{'; '.join(parts)}>"


def proxy_repr(address: ServerAddress, state: ProxyState, *, is_down: bool) -> str:
    """Return where a proxy listens, its upstream, and the faults in force."""
    parts = [
        f"proxy {address}",
        f"upstream {state.upstream}",
        *_list("fault", "faults", list(state.faults.in_force)),
        *(["down"] if is_down else []),
    ]
    return f"<{'; '.join(parts)}>"


def peer_repr(address: ServerAddress, state: PeerState, *, is_down: bool) -> str:
    """Return where a peer is, and what is placed in it."""
    parts = [
        f"peer {address}",
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
