"""Servers that can be started beside the main one: all that was said of them makes sense."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.named_servers import NamedServer
from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ScenarioError
from esps_portal.net.serving import OpenPorts
from esps_portal.proxy.serving import OwnUpstreamError

# What a server that runs can get anew; with another value of another key it is another server.
_PLACED = ("stubs", "faults")


@attrs.frozen(kw_only=True)
class PreparedServer:
    """A server that can be started.

    Attributes:
        noun: what a report calls it: ``proxy`` or ``peer``.
        serve: serves it on a free port of loopback until it is cancelled; see `serve_ports`.
        controls: returns what the control port does to it, given its ports.
        values: returns it as a scenario has it.
        start_clock: counts the times of its journal from now on; it is given the time.
        faults: those that are in force from the start.
        on_fault: called with each of them once it runs.
    """

    noun: str
    name: str
    serve: Callable[..., Awaitable[None]]
    controls: Callable[[OpenPorts], ServerControls]
    values: Callable[[], dict[str, Any]]
    start_clock: Callable[[float], None]
    faults: list[Fault]
    on_fault: Callable[[Fault], None]

    async def start(self, nursery: trio.Nursery) -> NamedServer:
        """Start it; return it once it listens.

        Raises:
            ScenarioError: it would relay to itself.
            CannotBindError: there is no port.
        """
        self.start_clock(trio.current_time())
        scope, ended = trio.CancelScope(), trio.Event()

        async def run(*, task_status: trio.TaskStatus[OpenPorts]) -> None:
            with scope:
                try:
                    await self.serve(task_status=task_status)
                finally:
                    ended.set()

        try:
            listeners: OpenPorts = await nursery.start(run)
        except OwnUpstreamError as error:
            raise ScenarioError("upstream", str(error)) from error
        for fault in self.faults:
            self.on_fault(fault)
        return NamedServer(
            noun=self.noun,
            name=self.name,
            address=(*listeners.tcp, *listeners.udp)[0],
            controls=self.controls(listeners),
            values=self.values,
            scope=scope,
            ended=ended,
        )

    def is_the_same(self, running: NamedServer) -> bool:
        """Whether a server that runs is this one, but for its stubs and faults."""
        return _without_placed(self.values()) == _without_placed(running.values())

    async def take_over(self, running: NamedServer) -> None:
        """Give its stubs and faults to a server that runs."""
        placed = {key: value for key, value in self.values().items() if key in _PLACED}
        for fault in await running.controls.replace(placed):
            self.on_fault(fault)


def _without_placed(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in _PLACED}
