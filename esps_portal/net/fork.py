"""Closes in a forked child what it must not keep open.

A child of `os.fork` or multiprocessing has a copy of each descriptor. As long as it has one, a
closed listener still listens, a closed connection is neither ended nor reset, and the port stays
taken. So the child closes its copies before anything else runs in it. It makes no other system call
than close(2), since any other would act on the sockets of its parent.

A fork that bypasses Python, in a C extension, is not noticed. (A program that is started inherits
nothing: Python's descriptors are closed by exec.)
"""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol
from weakref import WeakSet

_sockets: WeakSet[socket.socket] = WeakSet()
_polls: set[select.epoll] = set()

#: Held while a socket is made and passed to `closed_in_child`, and while it is closed: Python lets
#: go of a descriptor before the kernel has closed it. No fork comes between.
unforked: threading.RLock = threading.RLock()


def closed_in_child(sock: socket.socket) -> socket.socket:
    """Register a socket, so that a forked child closes its copy; return the socket."""
    _sockets.add(sock)
    return sock


class Closable(Protocol):
    """A socket, or an object that owns one."""

    def close(self) -> None:
        """Close the descriptor."""


def close_socket(sock: Closable) -> None:
    """Close a socket, so that a child that is forked meanwhile does not keep its descriptor."""
    with unforked:
        sock.close()


def poll_closed_in_child() -> select.epoll:
    """Return a new epoll; a forked child closes its copy. Close it with `close_poll`."""
    with unforked:
        poll = select.epoll()
        _polls.add(poll)
    return poll


def close_poll(poll: select.epoll) -> None:
    """Close an epoll, so that a child that is forked meanwhile does not keep its descriptor."""
    with unforked:
        _polls.discard(poll)
        poll.close()


@contextmanager
def closed_at_end(sock: socket.socket) -> Iterator[None]:
    """Close a socket at the end of a ``with`` block, as `close_socket` does."""
    try:
        yield
    finally:
        close_socket(sock)


@contextmanager
def loop_closed_in_child() -> Iterator[None]:
    """Have a forked child close its copies of what the current trio loop waits with.

    For a loop in a thread of its own, which the child has not.
    """
    poll, sockets = _descriptors_of_loop()
    for sock in sockets:
        closed_in_child(sock)
    _polls.update(poll)
    try:
        yield
    finally:
        _polls.difference_update(poll)


def _descriptors_of_loop() -> tuple[list[select.epoll], list[socket.socket]]:
    """Return the epoll and the sockets of the current loop, as far as they can be found."""
    import trio  # noqa: PLC0415 - who only binds a socket does not wait for it

    # trio offers no other way. Where it changes, a child keeps these open, which harms nobody as
    # long as it closes the sockets themselves.
    runner = getattr(trio.lowlevel.current_task(), "_runner", None)
    manager = getattr(runner, "io_manager", None)
    wakeups = (
        getattr(getattr(runner, "entry_queue", None), "wakeup", None),
        getattr(manager, "_force_wakeup", None),
    )
    sockets = [
        getattr(wakeup, name, None) for wakeup in wakeups for name in ("wakeup_sock", "write_sock")
    ]
    poll = getattr(manager, "_epoll", None)
    return (
        [poll] if hasattr(select, "epoll") and isinstance(poll, select.epoll) else [],
        [sock for sock in sockets if isinstance(sock, socket.socket)],
    )


def _close_in_child() -> None:
    unforked.release()
    for sock in list(_sockets):
        descriptor = sock.detach()  # an object that is used after all then fails, and harms nobody
        if descriptor >= 0:
            os.close(descriptor)
    for poll in _polls:
        poll.close()
    _sockets.clear()
    _polls.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(
        before=unforked.acquire, after_in_parent=unforked.release, after_in_child=_close_in_child
    )
