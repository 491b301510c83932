"""Refuses connections for which there is no room, without making others wait."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import trio

from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.fork import close_socket
from esps_portal.net.handshake import open_stream
from esps_portal.net.silence import Silence
from esps_portal.net.stream import Stream, end_with_fin

# Refused connections that are ended gracefully at a time; further ones are just closed.
_MAX_REFUSING = 64


class Refusals:
    """Sends the refusal of an `AcceptPolicy`, and closes.

    Args:
        nursery: where the tasks run that end connections gracefully.
        stream: makes a stream of an accepted socket.
        silence: while it is on, no connection is ended gracefully.

    Attributes:
        under_way: how many connections are being ended gracefully.
    """

    def __init__(
        self,
        policy: AcceptPolicy,
        nursery: trio.Nursery,
        stream: Callable[[socket.socket], Stream],
        silence: Silence,
    ) -> None:
        self._policy = policy
        self._nursery = nursery
        self._stream = stream
        self._silence = silence
        self.under_way: int = 0

    def send_soon(self, connected: socket.socket) -> None:
        """Refuse a connection gracefully, unless there are many already."""
        try:
            stream = self._stream(connected)
        except OSError:
            close_socket(connected)
            return
        if self.under_way < _MAX_REFUSING:
            self.under_way += 1
            self._nursery.start_soon(self._send, stream)
        else:
            # A flood. Each gets the refusal, unless it has sent something already: to end each
            # gracefully would keep the next ones waiting.
            self._send_and_close(stream)

    def send_now(self, connected: socket.socket) -> None:
        """Send the refusal, as far as that needs no waiting, and close."""
        try:
            self._send_and_close(self._stream(connected))
        except OSError:
            close_socket(connected)

    async def send(self, stream: Stream) -> None:
        """Send the refusal, and end gracefully."""
        try:
            await self._silence.until_over()
            linger = self._policy.linger
            await open_stream(stream, seconds=self._policy.handshake, linger=linger)
            stream.send_now(self._policy.refusal)
            await end_with_fin(stream, linger)
        except trio.BrokenResourceError:
            pass
        finally:
            stream.close()

    async def _send(self, stream: Stream) -> None:
        try:
            await self.send(stream)
        finally:
            self.under_way -= 1

    def _send_and_close(self, stream: Stream) -> None:
        """Send the refusal, unless a handshake would have to come first, and close."""
        with contextlib.suppress(trio.BrokenResourceError):
            if not stream.needs_handshake:
                stream.send_now(self._policy.refusal)
        stream.close()
