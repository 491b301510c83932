"""Reads the PROXY header of a connection through a load balancer: it names the real client."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import trio

from esps_portal.log import log
from esps_portal.net.fork import close_socket
from esps_portal.net.proxy_header import MAX_SIZE, ProxyHeader, ProxyHeaderError
from esps_portal.net.silence import Silence
from esps_portal.net.systems import reset_at_close

#: Seconds in which the header has to come: at least 3 (proxy-protocol.txt, section 2), for a
#: segment that was lost, and some more.
HEADER_SECONDS = 5.0


async def read_proxy_header(
    connected: socket.socket, silence: Silence, seconds: float = HEADER_SECONDS
) -> tuple[str, int] | None:
    """Read the PROXY header; return the client's address and port, `None` if it names none.

    Nothing after the header is read.

    Args:
        connected: non-blocking.
        silence: as long as it is on nothing is read.
        seconds: in which the header has to come.

    Raises:
        ProxyHeaderError: there is none that is valid, or not in time.
        OSError: the connection broke.
    """
    header = ProxyHeader()
    with trio.move_on_after(seconds):
        while not header.is_complete:
            await trio.lowlevel.wait_readable(connected)
            if silence.is_on:
                await silence.until_over()
                continue
            _read_some(connected, header)
        return header.source
    raise ProxyHeaderError("the header did not come in time")


def _read_some(connected: socket.socket, header: ProxyHeader) -> None:
    try:
        waiting = connected.recv(MAX_SIZE, socket.MSG_PEEK)
    except BlockingIOError:
        return
    if not waiting:
        raise ProxyHeaderError("the connection ended before its header")
    # The bytes of the header were seen with MSG_PEEK, so this does not wait.
    connected.recv(header.feed(waiting))


class ProxyHeaderReaders:
    """Reads the header of each new connection; its length is how many it is reading.

    Args:
        nursery: where they are read.
        silence: as long as it is on nothing is read.
        serve: called with each connection whose header was read, and the client's address.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        silence: Silence,
        serve: Callable[[socket.socket, tuple[str, int]], None],
    ) -> None:
        self._nursery = nursery
        self._silence = silence
        self._serve = serve
        self._reading: set[trio.CancelScope] = set()
        self._has_warned = False

    def __len__(self) -> int:
        return len(self._reading)

    def begin(self, connected: socket.socket, address: tuple[str, int]) -> None:
        """Read the header of an accepted connection; without a valid one it is reset."""
        scope = trio.CancelScope()
        self._reading.add(scope)
        self._nursery.start_soon(self._read, connected, address, scope)

    def abort(self) -> None:
        """Close each connection whose header is being read."""
        for scope in self._reading:
            scope.cancel()

    async def _read(
        self, connected: socket.socket, address: tuple[str, int], scope: trio.CancelScope
    ) -> None:
        client: tuple[str, int] | None = None
        is_read = False
        try:
            connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            with scope:
                client = await read_proxy_header(connected, self._silence)
                is_read = True
        except ProxyHeaderError as error:
            # Reset, whether some of the header was read or nothing (ESPS-TCP-18).
            with contextlib.suppress(OSError):  # it broke
                reset_at_close(connected)
            self._warn_once(error)
        except OSError:
            pass  # it broke
        finally:
            self._reading.discard(scope)
            if not is_read:
                trio.lowlevel.notify_closing(connected)
                close_socket(connected)
        if is_read:
            self._serve(connected, client or address)

    def _warn_once(self, error: ProxyHeaderError) -> None:
        if not self._has_warned:
            self._has_warned = True
            text = "a connection was reset: %s (PROXY protocol; further ones are not logged)"
            log.warning(text, error)
