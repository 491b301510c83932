"""Accepting from listening sockets, also when the process has run out of descriptors."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any, Protocol

import trio

from esps_portal.clock import monotonic
from esps_portal.log import log
from esps_portal.net.bind import BACKLOG
from esps_portal.net.descriptors import SpareDescriptor
from esps_portal.net.fork import close_socket, closed_in_child, unforked
from esps_portal.net.keepalive import keep_alive
from esps_portal.net.silence import Silence
from esps_portal.net.turns import Turns

# The process or the machine has run out of something that may become free again
# (the list of trio.serve_listeners).
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_AFTER = 0.1
# Limits on what is accepted in a row, before other tasks get a turn: a number of connections, and
# seconds. Each connection takes a tenth of a millisecond.
_MAX_ACCEPTS = 64
_ACCEPT_SECONDS = 0.005


class Room(Protocol):
    """How many may be accepted."""

    @property
    def is_full(self) -> bool:
        """Whether nobody may be accepted now."""

    async def until_not_full(self) -> None:
        """Wait until somebody may."""


class Acceptor:
    """Accepts from any number of listening sockets.

    Args:
        on_accepted: called with each connected socket, and the address of the client; it must not
            raise.
        refuse: called with a connected socket when no other descriptor is left; closes it.
        silence: as long as it is on nothing is accepted.
        room: as long as it is full nothing is accepted, and new clients wait in the kernel's queue;
            ``None``: there is no such limit.
        turns: it waits for one before it accepts a batch; `None`: it does not wait.

    Attributes:
        listeners: those it accepts from.
        on_listen: called after one was added to them.
    """

    def __init__(
        self,
        on_accepted: Callable[[socket.socket, tuple[str, int]], None],
        refuse: Callable[[socket.socket], None],
        silence: Silence,
        room: Room | None = None,
        turns: Turns | None = None,
    ) -> None:
        self._on_accepted = on_accepted
        self._room = room
        self._refuse = refuse
        self._silence = silence
        self._turns = turns
        self._is_exhausted = False
        self._spare = SpareDescriptor()
        self.listeners: dict[socket.socket, None] = {}
        self.on_listen: Callable[[], None] = lambda: None

    async def accept(self, listener: socket.socket) -> None:
        """Accept from one listening socket until cancelled, or until it is closed."""
        closed_in_child(listener)
        keep_alive(listener)  # once, rather than for each connection
        self.listeners[listener] = None
        self._spare.keep()
        self.on_listen()
        with contextlib.suppress(trio.ClosedResourceError):
            try:
                # It may have been closed while nothing waited on it.
                while listener.fileno() >= 0:
                    await trio.lowlevel.wait_readable(listener)
                    if self._turns is not None:
                        await self._turns.begin()
                    if self._silence.is_on:
                        await self._silence.until_over()
                    elif self._room is not None and self._room.is_full:
                        await self._room.until_not_full()
                    else:
                        await self._accept_batch(listener)
            finally:
                self.listeners.pop(listener, None)
                if not self.listeners:
                    self._spare.close()
                if listener.fileno() >= 0:
                    trio.lowlevel.notify_closing(listener)
                    close_socket(listener)

    async def _accept_batch(self, listener: socket.socket) -> None:
        until = monotonic() + _ACCEPT_SECONDS
        for _ in range(_MAX_ACCEPTS):
            try:
                self._accept_one(listener)
            except BlockingIOError:
                return
            except OSError as error:
                # Anything else is about the connection that was not made (accept(2)).
                if error.errno in _OUT_OF_RESOURCES and not self._refuse_one(listener, error):
                    await trio.sleep(_RETRY_AFTER)
                    return
            else:
                self._is_exhausted = False
            if monotonic() > until or (self._room is not None and self._room.is_full):
                return

    def accept_waiting(self, listener: socket.socket) -> None:
        """Accept what waits now, as far as there are resources for it."""
        for _ in range(BACKLOG):
            try:
                self._accept_one(listener)
            except BlockingIOError:
                return
            except OSError as error:
                is_out = error.errno in _OUT_OF_RESOURCES
                if is_out and not self._refuse_with_spare(listener):
                    return

    def _accept_one(self, listener: socket.socket) -> None:
        self._on_accepted(*_accepted_here(listener))

    def _refuse_one(self, listener: socket.socket, error: OSError) -> bool:
        """Refuse a client because resources have run out; return whether that was possible."""
        if not self._is_exhausted:
            log.warning("cannot accept connections: %s", error.strerror)
        self._is_exhausted = True
        return self._refuse_with_spare(listener)

    def _refuse_with_spare(self, listener: socket.socket) -> bool:
        """Refuse the next client with the spare descriptor; return whether there was a client."""
        with self._spare.released():
            try:
                connected, _ = _accepted_here(listener)
            except OSError:
                return False
            self._refuse(connected)
        return True


def _accepted_here(listener: socket.socket) -> tuple[socket.socket, tuple[Any, ...]]:
    """Do what `accepted` does; a forked child does not keep the new socket."""
    with unforked:
        connected, address = accepted(listener)
        return closed_in_child(connected), address


def accepted(listener: socket.socket) -> tuple[socket.socket, tuple[Any, ...]]:
    """Do what ``listener.accept()`` does, even where a test has replaced `socket.socket`.

    ``accept()`` makes the new socket with the class that has this name at the time: a mock, or one
    that refuses (pytest-socket). That is meant for the test, and must not end its server.
    """
    descriptor, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - what accept() calls
    made = type(listener)(listener.family, listener.type, listener.proto, fileno=descriptor)
    made.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return made, address
