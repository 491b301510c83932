"""Makes the kernel check whether the other end of a connection is still there.

A machine that loses its power or its network sends neither FIN nor RST. While nothing is sent to
it, as during a long call, only the kernel's probes notice: by default after two hours (RFC 9293
section 3.8.4), for which the connection and its call would be held.
"""

from __future__ import annotations

import contextlib
import socket

#: Seconds of silence after which the kernel probes: the default of `Limits.stall`, which is how
#: long a peer may leave unacknowledged what it is sent. A probe costs a peer 40 bytes.
IDLE = 30
#: Seconds between two probes: own choice, several times what a lost segment needs (RFC 6298
#: section 2: the first retransmission comes after a second).
INTERVAL = 10
#: Probes without an answer after which the connection is broken: own choice, so that no single
#: loss breaks one. A peer that vanished is found a minute after its last segment.
COUNT = 3

# The names of tcp(7); macOS calls the first TCP_KEEPALIVE. Where one is missing, the kernel's own
# value stays.
_IDLE_OPTIONS = ("TCP_KEEPIDLE", "TCP_KEEPALIVE")


def keep_alive(
    sock: socket.socket, idle: int = IDLE, interval: int = INTERVAL, count: int = COUNT
) -> None:
    """Make the kernel break a connection whose other end does not answer.

    Args:
        sock: a TCP socket; a listener passes it on to what it accepts, on Linux for one.
        idle: seconds of silence after which it begins to probe.
        interval: seconds between two probes.
        count: unanswered probes after which the connection is broken.
    """
    idle_option = next((name for name in _IDLE_OPTIONS if hasattr(socket, name)), "")
    values = {idle_option: idle, "TCP_KEEPINTVL": interval, "TCP_KEEPCNT": count}
    with contextlib.suppress(OSError):  # it was reset already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in values.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def is_kept_alive(sock: socket.socket) -> bool:
    """Whether `keep_alive` was called: for a socket, or for the listener that accepted it."""
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
