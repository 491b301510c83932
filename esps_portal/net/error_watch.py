"""Waits for the end of a connection that is not being read: for a RST, or for a FIN.

A socket with unread input is always readable. But an epoll that asks for no event reports errors
only, and is itself readable when it has one to report (epoll(7)); trio can wait for that. Where
there is no epoll, the socket is checked at intervals.
"""

from __future__ import annotations

import select
import socket
from typing import Literal, Protocol

import trio

#: How the peer has ended: with a RST or the like; with a FIN, or both directions have ended.
PeerEnd = Literal["error", "fin"]

# Seconds between two checks where nothing wakes us (own choice): no test notices, and a thousand
# connections cost a core a tenth of its time.
_INTERVAL = 0.05


class ErrorWatch(Protocol):
    """Waits for the end of one socket, which it does not read."""

    async def wait(self, *, for_fin: bool) -> PeerEnd:
        """Wait for an error or, if that is wanted, a FIN.

        Once both directions have ended with FIN, that is reported though it is not wanted.
        """

    def close(self) -> None:
        """Stop waiting."""


class EpollWatch:
    """Waits with an epoll of its own, which is nested in trio's.

    Raises:
        OSError: no descriptor is left.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._descriptor = sock.fileno()
        self._poll = select.epoll()
        self._poll.register(self._descriptor, 0)

    async def wait(self, *, for_fin: bool) -> PeerEnd:
        """Wait for an error or, if that is wanted, a FIN."""
        try:
            # With no events asked for, epoll reports errors only (epoll_ctl(2)).
            self._poll.modify(self._descriptor, select.EPOLLRDHUP if for_fin else 0)
        except OSError:
            return "error"  # another thread has closed the socket
        while True:
            await trio.lowlevel.wait_readable(self._poll.fileno())
            seen = self._poll.poll(0)
            if any(events & select.EPOLLERR for _, events in seen):
                return "error"
            if seen:
                return "fin"

    def close(self) -> None:
        """Stop waiting."""
        if not self._poll.closed:
            trio.lowlevel.notify_closing(self._poll.fileno())
        self._poll.close()


class PollingWatch:
    """Checks the socket at intervals. A FIN is seen once all that came before it was read."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def wait(self, *, for_fin: bool) -> PeerEnd:
        """Wait for an error or, if that is wanted, a FIN."""
        while True:
            await trio.sleep(_INTERVAL)
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError
            if (end := self._check(for_fin=for_fin)) is not None:
                return end

    def _check(self, *, for_fin: bool) -> PeerEnd | None:
        """Return how the peer has ended, without waiting; ``None``: it has not."""
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(self._socket, 0)  # errors and the end of both directions (poll(2))
            for _, events in poll.poll(0):
                return "error" if events & select.POLLERR else "fin"
        elif self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return "error"
        if not for_fin and hasattr(select, "poll"):
            return None
        try:
            is_over = not self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        except OSError:
            return "error"
        return "fin" if is_over and for_fin else None

    def close(self) -> None:
        """Stop waiting."""


def watch_errors(sock: socket.socket) -> ErrorWatch:
    """Return an `ErrorWatch` for a socket. Close it before the socket.

    Raises:
        OSError: no descriptor is left.
    """
    return EpollWatch(sock) if hasattr(select, "epoll") else PollingWatch(sock)
