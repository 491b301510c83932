"""What a server reports once it listens, and serving it until it is shut down."""

from __future__ import annotations

import attrs
import trio

from esps_portal.net.bind import Sockets
from esps_portal.net.port_control import PortControl

# Seconds that ending all connections may take beyond the drain and linger of each.
_GRACE = 0.5


@attrs.frozen
class Listeners:
    """A server that listens: where, and how to end it gracefully.

    Attributes:
        tcp, udp: the addresses, as (host, port), literal.
        ports: takes the ports out of service and back; that needs reserved ones.
    """

    tcp: tuple[tuple[str, int], ...]
    udp: tuple[tuple[str, int], ...]
    ports: PortControl = attrs.field(repr=False)
    _shutdown: trio.Event = attrs.field(repr=False)

    @property
    def is_shutting_down(self) -> bool:
        """Whether it was asked to end, and takes no more connections."""
        return self._shutdown.is_set()

    def shut_down(self) -> None:
        """Let what runs end, within the limits; what serves them then returns."""
        self._shutdown.set()


async def serve_until_shut_down(
    sockets: Sockets,
    ports: PortControl,
    nursery: trio.Nursery,
    task_status: trio.TaskStatus[Listeners],
    *,
    seconds: float,
) -> None:
    """Serve bound sockets until that is shut down or cancelled; they are closed then.

    Args:
        nursery: where that goes on; it is cancelled at the end.
        task_status: gets the `Listeners` once they listen.
        seconds: what a connection may take to end: its drain and its linger.
    """
    shutdown = trio.Event()
    try:
        addresses = sockets.tcp_addresses, sockets.udp_addresses
        ports.begin()
        task_status.started(Listeners(*addresses, ports, shutdown))
        await shutdown.wait()
        ports.stop_accepting()
        with trio.move_on_after(seconds + _GRACE):
            await ports.shut_down()
        with trio.move_on_after(_GRACE):
            # Thousands may be left; to cancel them at once would hold whatever else is served here.
            await ports.abort()
        nursery.cancel_scope.cancel()
    finally:
        ports.close()
