"""What a test does with any server: outages, the journal, the verdict.

Everything is done in the server's own event loop, whichever thread calls: a stub or a fault is in
force when the call that places it returns, and calls from several threads are safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esps_portal.exports import public_names
from esps_portal.journal.records import Entry, RecordedConnection
from esps_portal.net.port_outage import OutageKind
from esps_portal.product import PRODUCT
from esps_portal.testing import waiting
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.fault_overloads import PlacesFaults
from esps_portal.testing.handles import Outage
from esps_portal.testing.record_waits import connection_wait
from esps_portal.testing.review import Review
from esps_portal.testing.served import ServerAddress
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame


class ServerController(PlacesFaults):
    """A server for a test: a portal, a proxy or a peer.

    Args:
        name: ``portal``, ``proxy`` or ``peer``, for errors.
        address: where it is.
        server: what is done to it, in its loop.
        product: what a recording says that it was made by.

    Attributes:
        host: a literal address, never a name.
        port: the port number, the same for TCP and UDP; 0 where there are no sockets.
        tls_ca: the path of a PEM file with the CA that a client has to trust; `None`: it has no
            TLS with a certificate of its own.
    """

    def __init__(
        self,
        name: str,
        address: ServerAddress,
        server: ControlledServer,
        product: str = PRODUCT,
    ) -> None:
        self.host: str = address.host
        self.port: int = address.port
        self.tls_ca: str | None = address.tls_ca
        self._name = name
        self._address = address
        self._loop = server.loop
        self._server = server
        self._product = product

    def down(self, how: OutageKind = "refuse") -> Outage:
        """Take the server out of service, from now until the ``with`` block ends.

        ``with portal.down(how="silent"): ...``. The port stays ours all the time. A proxy is down
        for clients and upstream alike. Outages may overlap: the latest in force says how; it is up
        again when the last has ended.

        Args:
            how: ``refuse``, as if no server ran: connects and datagrams are refused (ECONNREFUSED),
                and open connections reset. ``silent``, as if the network were cut: connects time
                out, datagrams vanish in both directions, and open connections stand still until
                they go on with nothing lost. A client that waits to connect gets in when its system
                tries again, 1, 3, 7, 15 ... s after it began. See also `open_memory_portal`.

        Raises:
            ValueError: ``how`` is neither.
        """
        return self._server.down(how)

    # -- the journal

    def connections(self) -> list[RecordedConnection]:
        """Return the TCP connections, in order."""
        return self._server.view.connections()

    def wait_for_connections(
        self, count: int = 1, *, closed: bool = False, timeout: float = 1.0
    ) -> list[RecordedConnection]:
        """Wait until ``count`` TCP connections have opened, or ended. Returns all that have.

        ``(first,) = portal.wait_for_connections(closed=True)``, then ``first.closed_by``: that a
        client has seen the end does not mean that its own end has come here.

        Args:
            count: 1 to 10,000, the number of connections that are kept; open and ended ones count.
            closed: they must have ended.
            timeout: seconds, 0 or more.

        Raises:
            NoConnectionError: they have not, in time.
            TypeError, ValueError: an argument is not valid.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop(self._name, "wait_for_connections")
        return connection_wait(self._server.view, count, timeout, closed=closed).block()

    async def wait_for_connections_async(
        self,
        count: int = 1,
        *,
        closed: bool = False,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedConnection]:
        """Wait as `wait_for_connections` does, in a coroutine under asyncio, anyio or trio."""
        return await connection_wait(self._server.view, count, timeout, closed=closed).pause()

    def journal(self) -> list[Entry]:
        """Return everything that happened, in order: connections, with exchanges or with calls."""
        return self._server.view.entries()

    def transcript(self) -> str:
        """Return everything that happened as text: when, on which connection, what."""
        return self._server.view.transcript()

    @warns_without_with("with portal.record(path): ...")
    @contextmanager
    def record(self, path: str | Path) -> Iterator[None]:
        """Add to a recording what happens from now until the ``with`` block ends.

        ``with portal.record("calls.jsonl"): ...``

        Raises:
            CannotRecordError: the file cannot be opened, or is not a recording; at the end of the
                block: some of it could not be written.
        """
        with self._server.view.record(path, self._product):
            yield

    # -- the end of a test

    def verify(self) -> None:
        """Check that the server was used as expected; see the class.

        What clients have sent before is answered first: that takes at most 50 ms, or half a second
        where the server behind a proxy does not answer a connect. (Inside trio let your own loop
        run first: ``await trio.sleep(0)``.)

        Raises:
            VerificationError: the text says what is wrong, with the transcript.
        """
        self._server.reviewer.verify()

    def problems(self) -> list[str]:
        """Return what `verify` would report, each problem in a few lines."""
        return self._server.reviewer.problems()

    def review(self) -> Review:
        """Return the problems and the whole report, even if it has ended."""
        return self._server.reviewer.review()

    def reset(self) -> None:
        """Remove stubs and faults, empty the journal, end old connections, and then return."""
        self._server.reset()

    def __dir__(self) -> list[str]:
        return public_names(self)
