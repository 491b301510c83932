"""systemd's protocols for a service: sockets passed in, states reported, a watchdog.

Sockets: sd_listen_fds(3): ``LISTEN_FDS`` descriptors from 3 on are ours if ``LISTEN_PID`` is our
process id. States: sd_notify(3): one datagram to the Unix socket in ``NOTIFY_SOCKET``. Watchdog:
sd_watchdog_enabled(3): a state each ``WATCHDOG_USEC`` microseconds, or the service is restarted.
Without these variables nothing happens.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

import trio

from esps_portal.given_numbers import read_integer
from esps_portal.net.bind import Sockets

# SD_LISTEN_FDS_START of <systemd/sd-daemon.h>.
_FIRST = 3


def inherited_sockets(environment: MutableMapping[str, str]) -> Sockets | None:
    """Return the sockets that were handed over, ``None`` where there are none.

    The variables are removed, so that no child of ours takes the sockets for its own.

    Raises:
        ValueError: one of them is neither a listening TCP socket nor a UDP one.
    """
    count = read_integer(environment.pop("LISTEN_FDS", "")) or 0
    pid = environment.pop("LISTEN_PID", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or count < 1:
        return None
    sockets = Sockets()
    for descriptor in range(_FIRST, _FIRST + count):
        try:
            sock = socket.socket(fileno=descriptor)
        except OSError as error:
            sockets.close()
            message = f"descriptor {descriptor} is not a socket: {error.strerror}"
            raise ValueError(message) from error
        _sort_in(sock, sockets)
    return sockets


def _sort_in(sock: socket.socket, sockets: Sockets) -> None:
    os.set_inheritable(sock.fileno(), False)  # noqa: FBT003 - the standard library's signature
    sock.setblocking(False)  # noqa: FBT003 - the same
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        if sock.type == socket.SOCK_DGRAM:
            sockets.udp.append(sock)
            return
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type == socket.SOCK_STREAM and listens:
            sockets.tcp.append(sock)
            return
    descriptor = sock.fileno()
    sock.close()
    sockets.close()
    raise ValueError(f"descriptor {descriptor} is neither a listening TCP socket nor a UDP one")


def notify(environment: MutableMapping[str, str], state: str) -> None:
    """Notify the service manager, if there is one: ``READY=1``, ``STOPPING=1``."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    # A leading @ stands for the abstract namespace (sd_notify(3)).
    path = "\0" + address[1:] if address.startswith("@") else address
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), path)


def notify_reloading(environment: MutableMapping[str, str]) -> None:
    """Notify the service manager that files are read again (``Type=notify-reload``)."""
    now = time.monotonic_ns() // 1000
    notify(environment, f"RELOADING=1\nMONOTONIC_USEC={now}")


def watchdog_seconds(environment: MutableMapping[str, str]) -> float | None:
    """Return the seconds in which the service manager expects a notification; ``None``: none.

    The variables are removed, so that no child of ours answers for us.
    """
    microseconds = read_integer(environment.pop("WATCHDOG_USEC", "")) or 0
    pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
    if pid != str(os.getpid()) or microseconds < 1:
        return None
    return microseconds / 1_000_000


async def feed_watchdog(environment: MutableMapping[str, str], seconds: float) -> None:
    """Send notifications to the watchdog of the service manager until cancelled.

    It is a task like any other: if something blocks the loop none is sent, and the service is
    restarted.

    Args:
        environment: has ``NOTIFY_SOCKET``.
        seconds: the time limit; a notification is sent after half of it, as sd_watchdog_enabled(3)
            advises.
    """
    while True:
        notify(environment, "WATCHDOG=1")
        await trio.sleep(seconds / 2)
