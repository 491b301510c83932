"""A test's control over what serves any protocol: faults, journal, assertions, recordings.

A proxy and a peer have it in common.

Everything is done in the server's own event loop, whichever thread asks: a fault is in force when
the call that places it returns, and calls from several threads are safe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from esps_portal.exchanges.server_state import ServerState
from esps_portal.exports import public_names
from esps_portal.faults.matching import Match, Matchable
from esps_portal.journal.capture_sink import CaptureSink
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import (
    Entry,
    RecordedConnection,
    RecordedExchange,
)
from esps_portal.mock.exchange_search import exchanges_of
from esps_portal.net.port_control import OutageKind
from esps_portal.product import PRODUCT
from esps_portal.testing import waiting
from esps_portal.testing.exchange_wait import ExchangeWait
from esps_portal.testing.fault_overloads import PlacesFaults
from esps_portal.testing.handles import Outage
from esps_portal.testing.portal_loop import PortalEndedError, PortalLoop
from esps_portal.testing.review import Review
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_controls import ServerControls
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class ExchangeController(PlacesFaults):
    """A server of any protocol for a test: a proxy, or a peer.

    Args:
        name: ``proxy`` or ``peer``, for errors.
        state: what it has noted.
        loop: where everything is done.
        address: where it is.
        find_problems, report: see `Reviewer`.

    Attributes:
        host: a literal address, never a name.
        port: the port number, the same for TCP and UDP.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what is composed
        self,
        name: str,
        state: ServerState,
        loop: PortalLoop,
        address: ServerAddress,
        find_problems: Callable[[], list[str]],
        report: Callable[[list[str]], str],
    ) -> None:
        self.host: str = address.host
        self.port: int = address.port
        self.tls_ca: str | None = address.tls_ca
        self._name = name
        self._address = address
        self._noted = state
        self._loop = loop
        self._controls = ServerControls(loop, state.faults, state.journal, find_problems, report)

    # -- faults

    def down(self, how: OutageKind = "refuse") -> Outage:
        """Take it out of service, from now until the ``with`` block ends.

        ``with proxy.down(how="silent"): ...``. It is down as a portal is, a proxy in front of both
        sides: see `PortalController.down`.

        Args:
            how: ``refuse``: connects and datagrams are refused, open connections reset.
                ``silent``: connects time out, datagrams vanish, open connections stand still.

        Raises:
            ValueError: ``how`` is neither.
        """
        return self._controls.down(how)

    # -- the journal

    def exchanges(self, match: Matchable | None = None) -> list[RecordedExchange]:
        """Return what clients have said and the server's replies, in order.

        ``proxy.exchanges(b"INCR")``. The records go on: what is said later is in them too.

        Args:
            match: what the client said contains this text (as UTF-8) or these bytes; or a compiled
                regular expression is found in it; or this function of bytes returns true, called
                in the server's thread. By default all, also what a server says before its client.

        Raises:
            ValueError: it is none of these, or empty.
        """
        wanted = _match(match)
        return self._loop.run(lambda: exchanges_of(self._noted.exchanges, wanted))

    def connections(self) -> list[RecordedConnection]:
        """Return the TCP connections, in order."""
        return self._controls.view.connections()

    def journal(self) -> list[Entry]:
        """Return everything that happened, in order: connections with exchanges, or with calls."""
        return self._controls.view.entries()

    def transcript(self) -> str:
        """Return everything that happened as text: when, on which connection, what."""
        return self._controls.view.transcript()

    def wait_for(
        self, match: Matchable | None = None, *, count: int = 1, timeout: float = 1.0
    ) -> list[RecordedExchange]:
        """Wait until ``count`` exchanges have begun that match. Returns all that do.

        An exchange counts once what its client has said matches; its reply may still come.

        Args:
            match: as that of `exchanges`; by default anything that a client says.
            count: 1 to 10,000, the number of exchanges that are kept.
            timeout: seconds, 0 or more.

        Raises:
            NoExchangeError: they have not, in time.
            TypeError, ValueError: an argument is not valid.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop(self._name)
        return self._wait(match, count, timeout).block()

    async def wait_for_async(
        self,
        match: Matchable | None = None,
        *,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedExchange]:
        """Do the same in a coroutine, under asyncio, anyio or trio."""
        return await self._wait(match, count, timeout).pause()

    def _wait(self, match: Matchable | None, count: int, timeout: float) -> ExchangeWait:
        journal, happened = self._noted.exchanges, self._controls.view.short_transcript
        return ExchangeWait(self._loop, journal, happened, _match(match), count, timeout)

    # -- recordings

    @contextmanager
    def record(self, path: str | Path) -> Iterator[None]:
        """Add to a recording what happens from now until the ``with`` block ends.

        ``with proxy.record("redis.jsonl"): ...``

        Raises:
            CannotRecordError: the file cannot be opened, or is not a recording; at the end of the
                block: some of it could not be written.
        """
        with self._controls.view.record(path, PRODUCT):
            yield

    @contextmanager
    def pcap(self, path: str | Path) -> Iterator[None]:
        """Add to a capture, for Wireshark, what passes from now until the ``with`` block ends.

        ``with proxy.pcap("redis.pcap"): ...``. It has what each side said, before faults, between
        the client's own address and the server's (of a proxy, the upstream's), with headers such as
        they would be without loss. Connections that are open already begin with it.

        Raises:
            CannotRecordError: the file cannot be opened, or is not a capture of ours; at the end of
                the block: some of it could not be written.
        """
        with CaptureFile(Path(path), self._captured) as file:
            sink = self._loop.run(lambda: self._capture(file))
            try:
                yield
            finally:
                with suppress(PortalEndedError):
                    self._loop.run(sink.detach)

    @property
    def _captured(self) -> tuple[str, int]:
        """The address of the server, in a capture."""
        return self.host, self.port

    def _capture(self, file: CaptureFile) -> CaptureSink:
        now = trio.current_time()
        journals = dict.fromkeys((self._noted.journal, self._noted.exchanges))
        sink = CaptureSink(file, self._noted.journal, time.time() - now, now)
        sink.attach(*journals)
        return sink

    # -- the end of a test

    def verify(self) -> None:
        """Check that it was used as expected; see the class.

        What clients have sent before is dealt with first: that takes at most 50 ms, or half a
        second where the server behind a proxy does not answer a connect. (Inside trio, let your own
        loop run first: ``await trio.sleep(0)``.)

        Raises:
            VerificationError: the text says what is wrong, with the transcript.
        """
        self._controls.reviewer.verify()

    def problems(self) -> list[str]:
        """Return what `verify` would report, each problem in a few lines."""
        return self._controls.reviewer.problems()

    def review(self) -> Review:
        """Return the problems and the whole report, even if it has ended."""
        return self._controls.reviewer.review()

    def reset(self) -> None:
        """Remove faults, empty the journal, reset old connections, and then return."""
        self._controls.reset()

    def __dir__(self) -> list[str]:
        return public_names(self)


def _match(match: Matchable | None) -> Match | None:
    return None if match is None else Match.of("match", match)
