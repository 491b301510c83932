"""Limits what clients can send to a server that does not read, while a ``deaf`` fault is placed.

Such a client blocks in ``send`` once the buffers of both kernels are full. The listener decides how
large ours is for the connections that it accepts.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any

import trio

from esps_portal.net.connection_server import ConnectionServer

if TYPE_CHECKING:
    from esps_portal.faults.fault_registry import FaultRegistry

# Bytes; where the kernel's own minimum is larger, it takes that.
_SMALL = 4096
# <asm-generic/socket.h>; Python has no name for it.
_SO_BUF_LOCK = 72


class InputLimit:
    """Limits the listeners of a server; `run` is its whole life.

    Args:
        faults: the limit applies while a ``deaf`` fault is in force.
        connections: its acceptor has the listeners.
    """

    def __init__(self, faults: FaultRegistry, connections: ConnectionServer[Any]) -> None:
        self._faults = faults
        self._connections = connections
        self._limited: set[socket.socket] = set()

    async def run(self) -> None:
        """Apply and lift the limit as faults come and go, until cancelled."""
        self._faults.on_change.append(self._apply)
        self._connections.acceptor.on_listen = self._apply
        self._apply()
        try:
            await trio.sleep_forever()
        finally:
            self._faults.on_change.remove(self._apply)

    def _apply(self) -> None:
        # A closed one stays in the set until its task has noticed.
        listeners = {each for each in self._connections.acceptor.listeners if each.fileno() >= 0}
        is_limited = any(fault.kind == "deaf" for fault in self._faults.in_force)
        if is_limited:
            for listener in listeners - self._limited:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
            self._limited = listeners
        else:
            for listener in listeners & self._limited:
                _lift(listener)
            self._limited = set()


def _lift(listener: socket.socket) -> None:
    """Give a listener the default size again, and let the kernel adjust it (SO_BUF_LOCK)."""
    with type(listener)(listener.family, listener.type) as new:
        # The kernel doubles what is set, and returns that (socket(7)).
        size = new.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    with contextlib.suppress(OSError):  # before Linux 5.14
        listener.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
