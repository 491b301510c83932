"""Sends datagrams as faults change them: late, twice, in another order, from another port."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from esps_portal.faults.datagram_plan import DatagramPlan
from esps_portal.log import log
from esps_portal.net.datagram_sender import Sender

if TYPE_CHECKING:  # a portal that nobody scripts starts without it
    from esps_portal.faults.fault import Fault

#: What faults hold back or delay at a time, in datagrams and in bytes; more is lost, as in a full
#: queue of a router. The first is the default of `Limits.max_remembered`; the second is own choice:
#: 4,096 datagrams of the default `Limits.max_datagram` fit three times.
MAX_LATE = 4096
MAX_LATE_BYTES = 16 << 20


class DatagramSender(Protocol):
    """The part of a UDP socket that sends."""

    def send(self, datagram: bytes, to: Sender) -> None:
        """Send a datagram; it may be lost on the way."""

    def send_from_other_port(self, datagram: bytes, to: Sender) -> None:
        """Send it from the same address and another port."""


@attrs.define(eq=False)
class _Held:
    """Datagrams held back until a number of others have left.

    Attributes:
        plan: what to send then.
        others: how many still have to leave first.
        timer: cancels the call that sends them at the latest.
    """

    plan: DatagramPlan
    to: Sender
    others: int
    on_sent: Callable[[], None]
    timer: trio.CancelScope | None = None


class DatagramFaultWriter:
    """Sends datagrams, plainly or as the plan of a fault says.

    Args:
        nursery: where delayed datagrams wait.
    """

    def __init__(self, sock: DatagramSender, nursery: trio.Nursery) -> None:
        self._socket = sock
        self._nursery = nursery
        self._held: list[_Held] = []
        # The scopes of delayed calls; `forget` cancels them.
        self._late: set[trio.CancelScope] = set()
        self._late_bytes = 0
        self._has_warned = False

    @property
    def is_holding(self) -> bool:
        """Whether a datagram waits until others have left."""
        return bool(self._held)

    def holds(self, fault: Fault) -> bool:
        """Whether a fault holds a datagram back until others have left."""
        return any(held.plan.held_by is fault for held in self._held)

    def send(self, datagram: bytes, to: Sender) -> None:
        """Send a datagram that no fault changes."""
        self._socket.send(datagram, to)
        if self._held:
            self._count_one()

    def perform(
        self, plan: DatagramPlan, to: Sender, on_sent: Callable[[], None] = lambda: None
    ) -> None:
        """Send a datagram as a fault has changed it; it is lost if too many are delayed.

        Args:
            on_sent: called once it was sent.
        """
        # The copies of a datagram are one object.
        size = sum(map(len, set(plan.datagrams)))
        if plan.hold:
            held = _Held(plan, to, plan.hold, on_sent)
            held.timer = self.call_later(plan.delay, lambda: self._release(held), size)
            if held.timer is not None:
                self._held.append(held)
        elif plan.delay:
            self.call_later(plan.delay, lambda: self._send_and_count(plan, to, on_sent), size)
        elif plan.datagrams:
            self._send_and_count(plan, to, on_sent)

    def call_later(
        self, seconds: float, callback: Callable[[], None], size: int
    ) -> trio.CancelScope | None:
        """Call a function after a delay in seconds, unless `forget` comes first.

        Args:
            size: bytes that are held until then.

        Returns:
            A scope that cancels it; `None`: there was no room for it, and it is never called.
        """
        if len(self._late) >= MAX_LATE or self._late_bytes + size > MAX_LATE_BYTES:
            if not self._has_warned:
                self._has_warned = True
                log.warning("faults delay too many datagrams: some are lost")
            return None
        scope = trio.CancelScope()
        self._late.add(scope)
        self._late_bytes += size
        self._nursery.start_soon(self._call_late, scope, seconds, callback, size)
        return scope

    def forget(self) -> None:
        """Drop everything that is held back or delayed."""
        self._held.clear()
        for scope in self._late:
            scope.cancel()

    async def _call_late(
        self, scope: trio.CancelScope, seconds: float, callback: Callable[[], None], size: int
    ) -> None:
        with scope:
            await trio.sleep(seconds)
            if not scope.cancel_called:
                callback()
        self._late.discard(scope)
        self._late_bytes -= size

    def _send_and_count(self, plan: DatagramPlan, to: Sender, on_sent: Callable[[], None]) -> None:
        self._send_plan(plan, to)
        on_sent()
        self._count_one()

    def _release(self, held: _Held) -> None:
        if held in self._held:
            self._held.remove(held)
            if held.timer is not None:
                held.timer.cancel()
            self._send_plan(held.plan, held.to)
            held.on_sent()

    def _count_one(self) -> None:
        """Count a datagram that has left; send those that waited for it alone."""
        for held in list(self._held):
            held.others -= 1
            if held.others <= 0:
                self._release(held)

    def _send_plan(self, plan: DatagramPlan, to: Sender) -> None:
        send = self._socket.send_from_other_port if plan.from_other_port else self._socket.send
        for datagram in plan.datagrams:
            send(datagram, to)
