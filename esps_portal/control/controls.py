"""What a control port does to a server, whatever the server is.

`portal_controls`, `proxy_controls` and `peer_controls` fill in what differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import attrs
import trio

from esps_portal.control.router import Routes
from esps_portal.exchanges.server_state import ServerState
from esps_portal.faults.fault import Fault
from esps_portal.net.port_control import PortControl

# How many removed faults can still be waited for.
_MAX_REMOVED = 1000


class StubControls(Protocol):
    """The stubs of a server: each as a scenario has it, with its ``id`` and ``used``."""

    def all(self) -> Iterator[dict[str, Any]]:
        """Return the stubs that are placed now, in order."""

    def place(self, value: object) -> dict[str, Any]:
        """Place a stub of a scenario. Raises `ScenarioError`."""

    def remove(self, name: str) -> bool:
        """Remove the stub with an ID; return whether there was one."""


@attrs.define(eq=False, kw_only=True)
class ServerControls:
    """A server that is controlled.

    Attributes:
        routes: the endpoints that it has.
        state: what was placed on it, and what has happened.
        ports: takes its ports out of service and back.
        stubs: those that are placed; ``None``: it has none.
        push: sends unsolicited frames, on one connection or all; see
            `PeerState.push`. ``None``: it never does.
        waits_for: the key that selects what is waited for, ``service`` for calls or ``match`` for
            exchanges; the first is waited for without a key.
        find_problems: returns a text for each thing that fails a strict test.
        report: returns these problems, and what has happened.
        scenario: returns what is placed, as a scenario file has it.
        replace: places a scenario, of values, instead of what is there: all of it, or nothing.
            Returns its faults; raises `ScenarioError`.
        on_fault: called with each fault that is placed.
        resetting: held while one resets: it waits until the old connections have ended.
    """

    routes: Routes
    state: ServerState
    ports: PortControl
    stubs: StubControls | None = None
    push: Callable[[tuple[bytes, ...], int | None], int] | None = None
    waits_for: tuple[str, ...]
    find_problems: Callable[[], list[str]]
    report: Callable[[list[str]], str]
    scenario: Callable[[], dict[str, Any]]
    replace: Callable[[object], Awaitable[list[Fault]]]
    on_fault: Callable[[Fault], None]
    resetting: trio.Lock = attrs.field(factory=trio.Lock)
    _removed: deque[Fault] = attrs.field(factory=lambda: deque(maxlen=_MAX_REMOVED))

    def fault(self, name: str) -> Fault | None:
        """Return the fault in force with an ID."""
        return next((f for f in self.state.faults.in_force if str(f.number) == name), None)

    def known_fault(self, name: str) -> Fault | None:
        """Return the fault with an ID, which may have been removed."""
        return self.fault(name) or next((f for f in self._removed if str(f.number) == name), None)

    def remove_fault(self, fault: Fault) -> None:
        """End a fault."""
        self.state.faults.remove(fault)
        self._removed.append(fault)

    def remove_faults(self) -> list[Fault]:
        """End all faults; return them."""
        removed = list(self.state.faults.in_force)
        self.state.faults.remove_all()
        self._removed.extend(removed)
        return removed

    async def reset(self) -> None:
        """Reset; nothing that came before it reaches what comes after its return."""
        async with self.resetting:
            await self.ports.reset()
            # Aborted calls still write into the journal, so it is emptied last.
            self.state.clear()
            self.state.start_clock(trio.current_time())
            self._removed.clear()
            # Calls and connections may still come; the faults cannot strike any more.
            self.state.faults.waiters.abandon()
