"""The control port: a scripted portal's stubs, faults and journal, from any language.

It is ESPS/1 again, on a port of its own, so that no fault touches it and it waits for nothing
that happens on the data port. Each service takes at most one argument, a JSON object in the
scenario's schema, and answers with one JSON value in each DATA line.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import trio

from esps_portal.faults.fault import Fault
from esps_portal.journal.journal import MAX_KEPT
from esps_portal.journal.journal_json import call_to_values
from esps_portal.journal.values import (
    ScenarioError,
    ValueTable,
    read_bool,
    read_json,
    read_name,
    read_positive_integer,
    read_seconds,
    wrong_value,
)
from esps_portal.journal.waiters import Waiter, Waiters
from esps_portal.mock.never_struck import why_never_struck
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_fault, read_scenario, read_stub
from esps_portal.mock.scenario_writing import scenario_to_values
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.verification import find_problems
from esps_portal.net.accept import ConnectionServer
from esps_portal.net.bind import bind
from esps_portal.net.port_control import OutageKind, PortControl
from esps_portal.net.quiet import become_quiet
from esps_portal.net.streams import Stream
from esps_portal.product import PRODUCT
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.limits import Limits
from esps_portal.server.connection import PortalConnection
from esps_portal.server.serving import accept_policy
from esps_portal.services.call import Call, CallContext
from esps_portal.services.dispatch import Portal
from esps_portal.services.service import Service

_MIB = 1 << 20

#: Any useful JSON fits a line; a suite may be silent for a day, and wait for an hour.
LIMITS = Limits(max_line=_MIB, max_reply=_MIB, max_unterminated=2 * _MIB, idle=86_400, drain=3_600)

# The one service that does not delay the requests after it.
_CONCURRENT = b"wait"
_TIMEOUT = 1.0


@attrs.define(eq=False)
class Control:
    """The services of a control port, for one portal and the ports of its data port.

    Attributes:
        on_fault: called with each fault that is placed through it.
    """

    portal: ScriptedPortal
    ports: PortControl
    on_fault: Callable[[Fault], None]
    _faults: dict[int, Fault] = attrs.field(factory=dict)
    _last: int = 0
    _resetting: trio.Lock = attrs.field(factory=trio.Lock)

    def offered(self) -> Portal:
        """Return the portal that offers them."""
        declared: list[tuple[str, Callable[..., Any], str, str]] = [
            ("stub", self.stub, "JSON", "place a stub: {service, args, reply, fail, ...}"),
            ("fault", self.fault, "JSON", "place a fault, {fault, ...}, or end one: {remove: id}"),
            ("calls", self.calls, "[JSON]", "tell the calls, of a {service} or all"),
            (
                "wait",
                self.wait,
                "[JSON]",
                "wait for calls: {service, count, timeout}; or {fault: id}",
            ),
            ("verify", self.verify, "[JSON]", "tell what a strict test fails for"),
            ("reset", self.reset, "[JSON]", "forget stubs, faults and calls; end old connections"),
            ("scenario", self.scenario, "[JSON]", "add a scenario, or tell what is placed"),
            ("down", self.down, "JSON", "take the ports out of service or back: {down, how}"),
        ]
        services = [
            Service.declare(function, name=name, usage=usage, summary=summary)
            for name, function, usage, summary in declared
        ]
        return Portal(services, product=PRODUCT, limits=LIMITS)

    async def stub(self, plain: bytes) -> None:
        """Place a stub."""
        limits = self.portal.limits
        with _Refusing():
            stub = read_stub(read_json(plain)).make(limits.longest_reply)
        self.portal.script.stubs.place(stub)

    async def fault(self, plain: bytes, *, call: CallContext) -> None:
        """Place a fault and return its number; or end the one with a number."""
        with _Refusing():
            said = read_json(plain)
            if isinstance(said, dict) and "remove" in said:
                table = ValueTable.of(said, "", ("remove",))
                # It may have ended already.
                self.portal.script.faults.remove(self._fault(table, "remove"))
                return
            fault = read_fault(said, where=self.portal.script.faults.where).make()
        self.portal.script.faults.place(fault)
        self.on_fault(fault)
        self._last += 1
        self._faults[self._last] = fault
        await _tell(call, {"id": self._last, "fault": str(fault), "seed": fault.seed})

    def _fault(self, table: ValueTable, key: str) -> Fault:
        number = table.required(key, read_positive_integer)
        fault = self._faults.get(number)
        if fault is None:
            raise table.error(key, f"no fault has the id {number}; a reset forgets them")
        return fault

    async def calls(self, plain: bytes = b"{}", *, call: CallContext) -> None:
        """Return the calls, a DATA line each."""
        with _Refusing():
            service = ValueTable.of(read_json(plain), "", ("service",)).get(
                "service", read_name, None
            )
        await self._tell_calls(service, call)

    async def wait(self, plain: bytes = b"{}", *, call: CallContext) -> None:
        """Wait for calls, and return them; or for a fault, and return how often it struck."""
        with _Refusing():
            said = read_json(plain)
            what = "fault" if isinstance(said, dict) and "fault" in said else "service"
            table = ValueTable.of(said, "", (what, "count", "timeout"))
            count = table.get("count", read_positive_integer, 1)
            timeout = table.get("timeout", read_seconds, _TIMEOUT)
            if count > MAX_KEPT:
                raise table.error("count", f"at most {MAX_KEPT}, which is how many calls are kept")
            fault = self._fault(table, "fault") if what == "fault" else None
            service = None if fault else table.get("service", read_name, None)
        if fault is not None:
            await self._wait_for_fault(fault, count, timeout)
            await _tell(call, {"happened": fault.happened})
            return
        journal = self.portal.script.journal
        if not await _happens(
            journal.waiters, partial(journal.add_waiter, service, count), timeout
        ):
            called = len(journal.calls_of(service))
            words = f"{service or 'anything'} was called {called} of {count} times"
            raise ReplyError("x-timeout", f"{words} in {timeout:g} s")
        await self._tell_calls(service, call)

    async def _wait_for_fault(self, fault: Fault, count: int, timeout: float) -> None:  # noqa: ASYNC109
        faults = self.portal.script.faults
        begin = partial(faults.waiters.add, fault, count, fault.happened)
        if await _happens(faults.waiters, begin, timeout):
            return
        words = f"fault {fault} struck {fault.happened} of {count} times in {timeout:g} s"
        if not fault.happened:
            words += f": {why_never_struck(fault, in_force=fault in faults.in_force)}"
        raise ReplyError("x-timeout", words)

    async def verify(self, plain: bytes = b"{}", *, call: CallContext) -> None:
        """Send each problem, and refuse if there is one."""
        with _Refusing():
            ValueTable.of(read_json(plain), "", ())
        await become_quiet()
        problems = find_problems(self.portal.script)
        for problem in problems:
            await _tell(call, problem)
        if problems:
            count = f"{len(problems)} problem{'s' * (len(problems) > 1)}"
            raise ReplyError("x-unverified", f"{count}: the portal was not used as expected")

    async def reset(self, plain: bytes = b"{}") -> None:
        """Keep everything that came before from reaching what comes after, before it returns."""
        with _Refusing():
            ValueTable.of(read_json(plain), "", ())
        # One at a time: each waits until the old connections have ended.
        async with self._resetting:
            await self.ports.reset()
            # What is aborted still writes into the journal: it is emptied last.
            self.portal.reset()
            self.portal.script.journal.start = trio.current_time()
            self._faults.clear()

    async def scenario(self, plain: bytes = b"{}", *, call: CallContext) -> None:
        """Add a scenario; or, without one, return what is placed."""
        with _Refusing():
            said = read_json(plain)
            placed = read_scenario(said).apply(self.portal)
        if not said:
            await _tell(call, scenario_to_values(Scenario.of(self.portal)))
        for fault in placed:
            self.on_fault(fault)

    async def down(self, plain: bytes) -> None:
        """Take the data port out of service, or back."""
        with _Refusing():
            table = ValueTable.of(read_json(plain), "", ("down", "how"))
            down = table.required("down", read_bool)
            how = table.get("how", _read_outage, None)
            if how is not None and not down:
                raise table.error("how", "down: false takes no other key")
        if down:
            self.ports.down(how or "refuse")
        else:
            self.ports.up()

    async def _tell_calls(self, service: str | None, call: CallContext) -> None:
        for recorded in self.portal.script.journal.calls_of(service):
            await _tell(call, call_to_values(recorded))


def _read_outage(value: object, path: str) -> OutageKind:
    if value == "refuse":
        return "refuse"
    if value == "silent":
        return "silent"
    raise wrong_value(path, "'refuse' or 'silent'", value)


async def _happens(
    waiters: Waiters,
    begin: Callable[[Callable[[], None]], Waiter],
    timeout: float,  # noqa: ASYNC109 - it is what the client asked for
) -> bool:
    """Return whether what a waiter is begun for happens in time."""
    happened = trio.Event()
    waiter = begin(happened.set)
    try:
        with trio.move_on_after(timeout):
            await happened.wait()
    finally:
        waiters.remove(waiter)
    return happened.is_set()


class _Refusing:
    """Turns an error in an argument into a ``bad-arguments`` reply that names the key."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, ScenarioError):
            raise ReplyError("bad-arguments", str(error)) from error


async def _tell(call: CallContext, value: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    await call.data(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _is_in_order(call: Call) -> bool:
    return call.request.args[0] != _CONCURRENT


async def serve_control(
    portal: ScriptedPortal,
    ports: PortControl,
    *,
    port: int = 0,
    on_fault: Callable[[Fault], None] = lambda _: None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the control port on loopback until cancelled. Reports its address once it listens.

    Args:
        portal, ports: what is controlled.
        port: 0 takes a free one.
        on_fault: called with each fault that is placed through it; its seed is chosen by then.

    Raises:
        CannotBindError: the port cannot be bound; raised before anything is served.
    """
    (listener,) = bind(("127.0.0.1",), port, udp=False).tcp
    async with trio.open_nursery() as nursery:
        offered = Control(portal, ports, on_fault).offered()

        def handler(stream: Stream, remote: tuple[str, int]) -> PortalConnection:
            # One request after another, in order, though most services are tasks: so a client, or
            # one line of a shell, may send all its requests at once. Only `wait` runs beside.
            return PortalConnection(stream, remote, offered, in_order=_is_in_order)

        connections = ConnectionServer(handler, accept_policy(LIMITS), nursery)
        nursery.start_soon(connections.watch)
        host, number = listener.getsockname()
        task_status.started((host, number))
        await connections.accept(listener)
