"""Waits until some of many streams can be read; a `ReadySet` uses it.

How epoll is used (epoll(7)):

- An event is only a hint, and reading decides: a descriptor may be closed and reused within a
  batch. Reading also finds what else an event says (hang-up, error).
- A stream that is not to be read is unregistered. With an empty mask epoll would still report a
  hang-up, at once and each time.
- A stream is unregistered before it is closed. A forked child that still holds the descriptor would
  otherwise cause events that nobody can end.
"""

from __future__ import annotations

import contextlib
import select
from typing import Protocol

import trio

from esps_portal.net.fork import close_poll, poll_closed_in_child

# Events that are taken from the kernel at a time; it passes on the rest next time, in turn.
_MAX_EVENTS = 256


class Readable(Protocol):
    """What can be waited for: a stream."""

    def fileno(self) -> int:
        """Return its descriptor; -1: it has none (any more)."""

    def has_input(self) -> bool:
        """Whether something has come that was not received."""


class Poller(Protocol):
    """Waits for many streams at once; each is known by a number.

    As long as a stream has input that was not received, `ready` reports it each time, unless it is
    paused: thousands that are known to be ready would hide those that have just become so.
    """

    @property
    def is_open(self) -> bool:
        """Whether streams can be added."""

    def add(self, stream: Readable) -> int:
        """Wait for a stream too; return its number."""

    def remove(self, number: int) -> None:
        """Stop waiting for it."""

    def pause(self, number: int) -> None:
        """Do not report it, until `resume`."""

    def resume(self, number: int) -> None:
        """Report it again."""

    async def wait(self) -> None:
        """Wait until something has come on any of them."""

    def ready(self) -> list[int]:
        """Return the numbers of some on which something may have come; of all, if they are few."""

    def close(self) -> None:
        """Stop waiting for all of them."""


class EpollPoller:
    """Waits for sockets with an epoll of its own, which is nested in trio's."""

    def __init__(self) -> None:
        self._poll = poll_closed_in_child()

    @property
    def is_open(self) -> bool:
        """Whether sockets can be added."""
        return not self._poll.closed

    def add(self, stream: Readable) -> int:
        """Wait for a socket too; return its descriptor."""
        descriptor = stream.fileno()
        self._poll.register(descriptor, select.EPOLLIN)
        return descriptor

    def remove(self, number: int) -> None:
        """Stop waiting for it."""
        self.pause(number)

    def pause(self, number: int) -> None:
        """Do not report it, until `resume`. An event mask of 0 would still report a RST."""
        with contextlib.suppress(OSError):  # another thread has closed it
            self._poll.unregister(number)

    def resume(self, number: int) -> None:
        """Report it again."""
        with contextlib.suppress(OSError):  # another thread has closed it
            self._poll.register(number, select.EPOLLIN)

    async def wait(self) -> None:
        """Wait until something has come on any of them."""
        await trio.lowlevel.wait_readable(self._poll.fileno())

    def ready(self) -> list[int]:
        """Return the descriptors of those on which something may have come."""
        return [descriptor for descriptor, _ in self._poll.poll(0, _MAX_EVENTS)]

    def close(self) -> None:
        """Stop waiting for all of them."""
        close_poll(self._poll)


def new_poller() -> Poller | None:
    """Return a poller for sockets; `None`: this system has none, so each needs its own task."""
    return EpollPoller() if hasattr(select, "epoll") else None
