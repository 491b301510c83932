"""What a thread of a test serves: a portal, or a proxy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

from esps_portal.net.port_control import PortControl


class PortListeners(Protocol):
    """What listens: where, and the ports."""

    @property
    def tcp(self) -> Sequence[tuple[str, int]]:
        """The addresses, as (host, port), literal."""

    @property
    def udp(self) -> Sequence[tuple[str, int]]:
        """The same for UDP."""

    @property
    def ports(self) -> PortControl:
        """Takes the ports out of service and back."""


class Served(Protocol):
    """A portal or a proxy, as a `ServerThread` serves it."""

    @property
    def name(self) -> str:
        """As errors call it: ``portal`` or ``proxy``."""

    @property
    def start_errors(self) -> tuple[type[Exception], ...]:
        """What `serve` raises before it listens."""

    async def serve(self, *, task_status: trio.TaskStatus[PortListeners]) -> None:
        """Serve until it is cancelled. Reports once it listens."""

    @property
    def is_busy(self) -> bool:
        """Whether something goes on that is neither read nor a task; see `become_quiet`."""

    def start_clock(self, now: float) -> None:
        """Count the times of the journal from now."""

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since `clear`."""

    def clear(self) -> None:
        """Forget what was placed and what has happened."""

    def end(self) -> None:
        """Notify those who wait that nothing more will happen."""


def address_and_transports(
    listeners: PortListeners, *, is_tls: bool = False
) -> tuple[tuple[str, int], list[str]]:
    """Return the literal address that clients connect to, and what is served: tcp or tls, udp."""
    served = {"tls" if is_tls else "tcp": listeners.tcp, "udp": listeners.udp}
    host, port = (listeners.tcp or listeners.udp)[0]
    return (host, port), [transport for transport, addresses in served.items() if addresses]
