"""A proxy in a thread of its own, between two plain sockets that a test has in hand.

The test is client and server at once, so it knows the order in which things happen: `quiet` returns
once the proxy has dealt with all that was sent to it.
"""

from __future__ import annotations

import contextlib
import queue
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs
import trio

from esps_portal.faults.fault import Fault
from esps_portal.framings.framing import Framing
from esps_portal.net.listeners import Listeners
from esps_portal.net.quiet import become_quiet
from esps_portal.protocol.limits import Limits
from esps_portal.proxy.serving import ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from tests.patience import PATIENCE

_Result = TypeVar("_Result")

FIN, RST = "FIN", "RST"
_ENDLESS = 64 << 20  # bytes


@attrs.define(eq=False)
class Side:
    """One side of a connection through the proxy, as a plain socket."""

    sock: socket.socket
    _was_reset: bool = False

    def send(self, data: bytes) -> None:
        """Send, unless the connection has been reset; `rest` then says so."""
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            self._was_reset = True

    def read(self, size: int) -> bytes:
        """Return so many bytes, or fewer at the end."""
        data = bytearray()
        while len(data) < size and (more := self.sock.recv(size - len(data))):
            data += more
        return bytes(data)

    def rest(self) -> tuple[bytes, str]:
        """Return what comes until the end, and what that is: FIN or RST."""
        data = bytearray()
        try:
            while more := self.sock.recv(65536):
                data += more
        except ConnectionResetError:
            return bytes(data), RST
        return bytes(data), RST if self._was_reset else FIN

    def has_nothing(self) -> bool:
        """Whether nothing is there to read now, and neither FIN nor RST."""
        return not select.select([self.sock], [], [], 0)[0]

    def fill(self) -> int:
        """Send for as long as the other end takes anything at once; return how much it was."""
        self.sock.settimeout(0)
        taken = 0
        with contextlib.suppress(BlockingIOError):
            while taken < _ENDLESS:
                taken += self.sock.send(b"x" * 65536)
        self.sock.settimeout(PATIENCE)
        return taken

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@attrs.define(eq=False)
class ThreadedProxy:
    """A running proxy, and the server behind it, which the test plays."""

    state: ProxyState
    listeners: Listeners
    listener: socket.socket
    datagrams: socket.socket
    _token: trio.lowlevel.TrioToken
    _open: contextlib.ExitStack

    def run(self, function: Callable[[], _Result]) -> _Result:
        """Call a function in the proxy's loop."""
        return trio.from_thread.run_sync(function, trio_token=self._token)

    def fault(self, kind: str, **options: Any) -> Fault:  # noqa: ANN401 - checked by the fault
        """Place a fault."""
        return self.run(lambda: self.state.faults.place(Fault.create(kind, **options)))

    def redirect(self, upstream: tuple[str, int]) -> None:
        """Stand in front of another server from now on."""
        self.state.upstream = _upstream(upstream)

    def quiet(self) -> None:
        """Return once the proxy has dealt with all that has come."""
        trio.from_thread.run(become_quiet, trio_token=self._token)

    def dial(self) -> Side:
        """Connect a client."""
        client = self._open.enter_context(
            socket.create_connection(self.listeners.tcp[0], timeout=PATIENCE)
        )
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Side(client)

    def accept(self) -> Side:
        """Accept a connection of the proxy's."""
        server = self._open.enter_context(self.listener.accept()[0])
        server.settimeout(PATIENCE)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Side(server)

    def connect(self) -> tuple[Side, Side]:
        """Return both sides of a new connection: client and server."""
        return self.dial(), self.accept()

    def is_dialled(self) -> bool:
        """Whether a connection of the proxy's waits to be accepted."""
        self.quiet()
        return bool(select.select([self.listener], [], [], 0)[0])

    def client_of_datagrams(self) -> socket.socket:
        """Return a connected UDP client."""
        client = self._open.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        client.settimeout(PATIENCE)
        client.connect(self.listeners.udp[0])
        return client

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, in the proxy's loop."""
        deadline = time.monotonic() + PATIENCE
        while not self.run(is_so):
            assert time.monotonic() < deadline, "it never came to that"
            self.quiet()


@contextlib.contextmanager
def threaded_proxy(
    framing: Framing | None = None,
    reply_framing: Framing | None = None,
    *,
    upstream: tuple[str, int] | None = None,
    **limits: float,
) -> Iterator[ThreadedProxy]:
    """A proxy on a free port before a server that the test plays; cancelled at the end.

    Args:
        upstream: another server, which the test does not play.
    """
    with contextlib.ExitStack() as stack:
        listener, datagrams = _listen(stack)
        state = ProxyState(_upstream(upstream or listener.getsockname()), framing, reply_framing)
        config = ProxyConfig(state=state, port=0, limits=Limits(**limits))  # type: ignore[arg-type]
        started: queue.Queue[tuple[Listeners, trio.lowlevel.TrioToken]] = queue.Queue()
        scope = trio.CancelScope()

        async def main() -> None:
            state.journal.start = trio.current_time()
            with scope:
                async with trio.open_nursery() as nursery:
                    listeners = await nursery.start(serve_proxy, config)
                    started.put((listeners, trio.lowlevel.current_trio_token()))

        thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
        thread.start()
        listeners, token = started.get(timeout=PATIENCE)
        try:
            yield ThreadedProxy(state, listeners, listener, datagrams, token, stack)
        finally:
            trio.from_thread.run_sync(scope.cancel, trio_token=token)
            thread.join(PATIENCE)
            assert not thread.is_alive()


def _upstream(address: tuple[str, int]) -> Upstream:
    return Upstream("tcp+udp", *address)


def _listen(stack: contextlib.ExitStack) -> tuple[socket.socket, socket.socket]:
    """Listen on one number over both transports."""
    while True:
        listener = socket.create_server(("127.0.0.1", 0))
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagrams.bind(listener.getsockname())
        except OSError:
            listener.close()
            datagrams.close()
            continue
        for sock in (listener, datagrams):
            stack.enter_context(sock)
            sock.settimeout(PATIENCE)
        return listener, datagrams


#: How a unit reaches the proxy.
DELIVERIES = ("whole", "byte by byte", "random pieces")


def pieces(data: bytes, delivery: str, seed: int = 0) -> list[bytes]:
    """Cut bytes into what the proxy reads at a time."""
    if delivery == "whole":
        return [data]
    if delivery == "byte by byte":
        return [data[place : place + 1] for place in range(len(data))]
    numbers = random.Random(f"{seed} {data!r}")
    found = []
    while data:
        size = numbers.randint(1, 7)
        found.append(data[:size])
        data = data[size:]
    return found


@attrs.frozen
class Sending:
    """Sends a unit in pieces, each of which the proxy reads by itself."""

    proxy: ThreadedProxy
    delivery: str

    def __call__(self, side: Side, data: bytes) -> None:
        """Send a unit; return once the proxy has dealt with it."""
        for piece in pieces(data, self.delivery):
            side.send(piece)
            self.proxy.quiet()
