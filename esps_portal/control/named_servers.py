"""Servers that are started beside the main one, each with a name: ``/proxies``, ``/peers``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import attrs
import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.http_messages import HttpError
from esps_portal.faults.fault import Fault
from esps_portal.journal.values import ScenarioError
from esps_portal.mock.server_names import same_variables
from esps_portal.net.listeners import Listeners
from esps_portal.proxy.serving import OwnUpstreamError

# Each holds a port, and two descriptors for each of its connections.
_MAX_SERVERS = 64
# What a running server can be given anew; if any other key differs, it is another server.
_PLACED = ("stubs", "faults")
# Seconds that its connections get to end in turns: own choice, as the grace of a shutdown.
_GRACE = 0.5


@attrs.define(eq=False, kw_only=True)
class NamedServer:
    """A server with a name, which runs.

    Attributes:
        noun: what a report calls it: ``proxy`` or ``peer``.
        address: host and port, of TCP and of UDP.
        controls: what the control port does to it.
        values: returns it as a scenario has it.
        scope: ends it when it is cancelled.
        ended: set once it has ended.
    """

    noun: str
    name: str
    address: tuple[str, int]
    controls: ServerControls
    values: Callable[[], dict[str, Any]]
    scope: trio.CancelScope
    ended: trio.Event = attrs.field(factory=trio.Event)

    def values_with_address(self) -> dict[str, Any]:
        """Return it as a scenario has it, with its address."""
        host, port = self.address
        return {**self.values(), "host": host, "port": port}

    def problem_report(self) -> str:
        """Return what a strict test fails for, and what happened; empty if nothing is wrong."""
        problems = self.controls.find_problems()
        return self.controls.report(problems) if problems else ""


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
    controls: Callable[[Listeners], ServerControls]
    values: Callable[[], dict[str, Any]]
    start_clock: Callable[[float], None]
    faults: list[Fault]
    on_fault: Callable[[Fault], None]

    async def start(self, nursery: trio.Nursery) -> NamedServer:
        """Start the server; return it once it listens.

        Raises:
            ScenarioError: it would relay to itself.
            CannotBindError: there is no port.
        """
        self.start_clock(trio.current_time())
        scope, ended = trio.CancelScope(), trio.Event()

        async def run(*, task_status: trio.TaskStatus[Listeners]) -> None:
            with scope:
                try:
                    await self.serve(task_status=task_status)
                finally:
                    ended.set()

        try:
            listeners: Listeners = await nursery.start(run)
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


@attrs.define(eq=False)
class NamedServers:
    """All servers of a kind that have a name.

    Args:
        nursery: where they run.
        read: prepares a server from its entry in a scenario, given the path of that.

    Attributes:
        by_name: those that run.
        others: those of other kinds: no two servers have one name.
    """

    _nursery: trio.Nursery
    _read: Callable[[object, str], PreparedServer]
    by_name: dict[str, NamedServer] = attrs.field(factory=dict)
    others: tuple[NamedServers, ...] = ()
    # One at a time, so that no two get one name.
    _changing: trio.Lock = attrs.field(factory=trio.Lock)

    def find(self, name: str) -> NamedServer:
        """Return a server that runs.

        Raises:
            HttpError: there is none with this name.
        """
        if name not in self.by_name:
            running = ", ".join(self.by_name)
            known = f"choose from {running}" if running else "there are none"
            raise HttpError(404, f"nothing runs under the name {name[:64]!r}; {known}")
        return self.by_name[name]

    async def place(self, value: object) -> NamedServer:
        """Start a server from its entry in a scenario.

        Raises:
            ScenarioError: something is wrong with that.
            HttpError: its name is taken, or there are too many.
        """
        prepared = self._read(value, "")
        async with self._changing:
            taken = [name for each in (self, *self.others) for name in each.by_name]
            same = same_variables([*taken, prepared.name])
            if same is not None:
                raise HttpError(409, f"the name {same[0]!r} is taken", key="name")
            if len(self.by_name) >= _MAX_SERVERS:
                raise HttpError(409, f"there are {_MAX_SERVERS} already")
            return await self.start(prepared)

    async def start(self, prepared: PreparedServer) -> NamedServer:
        """Start a server; its name must be free."""
        server = await prepared.start(self._nursery)
        self.by_name[server.name] = server
        return server

    async def end(self, server: NamedServer) -> None:
        """End a server; return once its ports are closed."""
        self.by_name.pop(server.name, None)
        with trio.move_on_after(_GRACE):
            # To cancel thousands at once would hold whatever else is served here.
            await server.controls.ports.abort()
        server.scope.cancel()
        await server.ended.wait()
        server.controls.state.end()

    def prepare(self, value: object, path: str) -> list[PreparedServer]:
        """Prepare the servers of a list of a scenario.

        Raises:
            ScenarioError: something is wrong with one.
        """
        if not isinstance(value, list) or len(value) > _MAX_SERVERS:
            raise ScenarioError(path, f"must be a list of at most {_MAX_SERVERS}")
        return [self._read(each, f"{path}[{n}]") for n, each in enumerate(value)]

    async def replace(self, prepared: Sequence[PreparedServer]) -> None:
        """Run these servers and no others; one that runs already keeps its ports."""
        async with self._changing:
            kept = {
                each.name
                for each in prepared
                if each.name in self.by_name and each.is_the_same(self.by_name[each.name])
            }
            for server in [s for s in self.by_name.values() if s.name not in kept]:
                await self.end(server)
            for each in prepared:
                # One that was kept may have been ended meanwhile.
                running = self.by_name.get(each.name)
                if running is None:
                    await self.start(each)
                else:
                    await each.take_over(running)

    def values(self) -> list[dict[str, Any]]:
        """Return all of them as a scenario has them."""
        return [server.values() for server in self.by_name.values()]

    def values_with_addresses(self) -> Iterator[dict[str, Any]]:
        """Return all of them, with their addresses."""
        return (server.values_with_address() for server in list(self.by_name.values()))
