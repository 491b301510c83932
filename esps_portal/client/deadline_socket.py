"""A connected socket for the blocking client: each operation takes until a deadline. No trio here.

The socket itself never blocks. A timeout of its own (`socket.settimeout`) would be set anew for
each operation, and cost a system call each time.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections.abc import Sequence

from esps_portal.clock import monotonic
from esps_portal.net.tls import TLSSocket
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# The longest wait at a time, in seconds (own choice: a day; poll(2) counts milliseconds in an int).
_LONGEST = 86400.0


class DeadlineSocket:
    """The socket, which it owns.

    Args:
        connected: over TCP, or TLS after its handshake.

    Deadlines are in seconds on the clock of `esps_portal.clock.monotonic`; `math.inf` is none.
    """

    def __init__(self, connected: socket.socket | TLSSocket) -> None:
        connected.settimeout(0)
        self._socket = connected
        # Over TLS a record that has come may be decrypted already: the kernel knows nothing of it.
        self._may_hold = isinstance(connected, TLSSocket)
        self._readable = _Poller(connected.fileno(), for_reading=True)

    def send_all(self, data: bytes, deadline: float) -> None:
        """Send all of ``data``.

        Raises:
            TimeoutError: the deadline has passed; some of it may have been sent.
            OSError: the connection is broken.
        """
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data)[sent:], deadline)

    def _send_rest(self, rest: memoryview, deadline: float) -> None:
        writable = _Poller(self._socket.fileno(), for_reading=False)
        while rest:
            writable.wait(deadline)
            with contextlib.suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]

    def receive(self, size: int, deadline: float) -> bytes:
        """Return what comes next, at most ``size`` bytes; ``b""``: it has ended.

        Raises:
            TimeoutError: the deadline has passed.
            OSError: the connection is broken.
        """
        if not self._may_hold:
            self._readable.wait(deadline)
        while True:
            try:
                return self._socket.recv(size)
            except BlockingIOError:
                self._readable.wait(deadline)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class _Poller:
    """Waits until a descriptor can be read, or written."""

    def __init__(self, descriptor: int, *, for_reading: bool) -> None:
        self._descriptor = descriptor
        self._for_reading = for_reading
        # Windows has no poll(2), and its select(2) takes a descriptor of any number.
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(descriptor, select.POLLIN if for_reading else select.POLLOUT)

    def wait(self, deadline: float) -> None:
        """Wait.

        Raises:
            TimeoutError: the deadline has passed.
        """
        while True:
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            seconds = min(left, _LONGEST)
            if self._poll is not None:
                # Rounded up: a wait that ends too early would be followed by one of no time.
                found: object = self._poll.poll(math.ceil(seconds * 1000))
            else:
                found = any(self._select(seconds))
            if found:
                return

    def _select(self, seconds: float) -> tuple[Sequence[int], ...]:
        wanted = [self._descriptor]
        if self._for_reading:
            return select.select(wanted, [], [], seconds)
        return select.select([], wanted, wanted, seconds)
