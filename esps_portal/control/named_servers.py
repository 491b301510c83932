"""Servers that are started beside the main one, each with a name: ``/proxies``, ``/peers``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import attrs
import trio

from esps_portal.control.controls import ServerControls
from esps_portal.control.http_messages import HttpError
from esps_portal.journal.values import ScenarioError
from esps_portal.mock.planned_proxy import same_variables

# Each holds a port, and two descriptors for each of its connections.
_MAX_SERVERS = 64


@attrs.define(eq=False, kw_only=True)
class NamedServer:
    """A server with a name, which runs.

    Attributes:
        noun: what a report calls it: ``proxy`` or ``peer``.
        address: host and port, of TCP and of UDP.
        controls: what the control port does to it.
        values: returns it as a scenario has it.
        problem_report: returns what a strict test fails for, and what happened; empty for nothing.
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

    def shown(self) -> dict[str, Any]:
        """Return it as a scenario has it, with its address."""
        host, port = self.address
        return {**self.values(), "host": host, "port": port}

    def problem_report(self) -> str:
        """Return what a strict test fails for, and what happened; empty if nothing is wrong."""
        problems = self.controls.find_problems()
        return self.controls.report(problems) if problems else ""


class Startable(Protocol):
    """A server that can be started: all that was said of it makes sense."""

    @property
    def name(self) -> str:
        """Its name."""

    async def start(self, nursery: trio.Nursery) -> NamedServer:
        """Start it; return it once it listens. Raises `ScenarioError`."""

    def is_the_same(self, running: NamedServer) -> bool:
        """Whether a server that runs is this one, but for its stubs and faults."""

    async def take_over(self, running: NamedServer) -> None:
        """Give its stubs and faults to a server that runs."""


@attrs.define(eq=False)
class NamedServers:
    """All servers of a kind that have a name.

    Args:
        nursery: where they run.
        read: prepares a server of what a scenario says of it, given its path there.

    Attributes:
        by_name: those that run.
        others: those of other kinds: no two servers have one name.
    """

    _nursery: trio.Nursery
    _read: Callable[[object, str], Startable]
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
            known = ", ".join(self.by_name) or "there are none"
            raise HttpError(404, f"nothing has the name {name[:64]!r}: {known}")
        return self.by_name[name]

    async def place(self, value: object) -> NamedServer:
        """Start a server of what a scenario would say of it.

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

    async def start(self, prepared: Startable) -> NamedServer:
        """Start a server whose name nobody has."""
        server = await prepared.start(self._nursery)
        self.by_name[server.name] = server
        return server

    async def end(self, server: NamedServer) -> None:
        """End a server; return once its ports are closed."""
        self.by_name.pop(server.name, None)
        server.scope.cancel()
        await server.ended.wait()

    def prepare(self, value: object, path: str) -> list[Startable]:
        """Prepare the servers of a list of a scenario.

        Raises:
            ScenarioError: something is wrong with one.
        """
        if not isinstance(value, list) or len(value) > _MAX_SERVERS:
            raise ScenarioError(path, f"must be a list of at most {_MAX_SERVERS}")
        return [self._read(each, f"{path}[{n}]") for n, each in enumerate(value)]

    async def replace(self, prepared: Sequence[Startable]) -> None:
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
                if each.name in kept:
                    await each.take_over(self.by_name[each.name])
                else:
                    await self.start(each)

    def values(self) -> list[dict[str, Any]]:
        """Return all of them as a scenario has them."""
        return [server.values() for server in self.by_name.values()]

    def shown(self) -> Iterator[dict[str, Any]]:
        """Return all of them, with their addresses."""
        return (server.shown() for server in list(self.by_name.values()))
