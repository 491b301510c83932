"""A test's control over a running proxy: faults, journal, assertions, recordings.

Everything is done in the proxy's own event loop, whichever thread asks: a fault is in force when
the call that places it returns, and calls from several threads are safe.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from esps_portal.exports import public_names
from esps_portal.faults.matching import Match, Matchable
from esps_portal.journal.capture_sink import CaptureSink
from esps_portal.journal.pcap_file import CaptureFile
from esps_portal.journal.records import (
    Entry,
    RecordedCall,
    RecordedConnection,
    RecordedExchange,
)
from esps_portal.net.port_control import OutageKind
from esps_portal.product import PRODUCT
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.verification import find_problems, problem_report
from esps_portal.testing import waiting
from esps_portal.testing.exchange_wait import ExchangeWait, exchanges_of
from esps_portal.testing.fault_overloads import PlacesFaults
from esps_portal.testing.handles import Outage
from esps_portal.testing.portal_loop import PortalEndedError, PortalLoop
from esps_portal.testing.portal_repr import address_text, proxy_repr
from esps_portal.testing.review import Review
from esps_portal.testing.server_controls import ServerControls
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class ProxyController(PlacesFaults):
    """A proxy for a test, in front of a server of any protocol.

    Attributes:
        host: a literal address, never a name.
        port: the port number, the same for TCP and UDP.
        upstream: the server behind it, such as ``tcp://127.0.0.1:6379``.
    """

    _usual_name = "proxy"

    def __init__(
        self,
        state: ProxyState,
        loop: PortalLoop,
        address: tuple[str, int],
        transports: Collection[str],
        *,
        may_be_unreachable: bool = False,
    ) -> None:
        self.host: str = address[0]
        self.port: int = address[1]
        self.upstream: str = str(state.upstream)
        self._transports = transports
        self._state = state
        self._loop = loop
        self._controls = ServerControls(
            loop,
            state.faults,
            state.journal,
            partial(find_problems, state, may_be_unreachable=may_be_unreachable),
            partial(problem_report, state),
        )

    # -- faults

    def down(self, how: OutageKind = "refuse") -> Outage:
        """Take the proxy out of service, from now until the ``with`` block ends.

        ``with proxy.down(how="silent"): ...``. It is down as a portal is, in front of both sides:
        see `PortalController.down`.

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
                in the proxy's thread. By default all, also what a server says before its client.

        Raises:
            ValueError: it is none of these, or empty.
        """
        wanted = _match(match)
        return self._loop.run(lambda: exchanges_of(self._state.exchanges, wanted))

    def calls(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of a service, or all, in order; a repeat over UDP does not count.

        Raises:
            RuntimeError: the upstream is no portal.
        """
        waiting.check_service(service)
        if not self._state.upstream.is_esps:
            raise RuntimeError(f"{self.upstream} is no portal (esps://): see exchanges()")
        return self._loop.run(lambda: self._state.journal.calls_of(service))

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
        waiting.check_loop("proxy")
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
        journal, happened = self._state.exchanges, self._controls.view.short_transcript
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
        the client's own address and the upstream's, with headers such as they would be without
        loss. Connections that are open already begin with it.

        Raises:
            CannotRecordError: the file cannot be opened, or is not a capture of ours; at the end of
                the block: some of it could not be written.
        """
        upstream = self._state.upstream
        with CaptureFile(Path(path), (upstream.host, upstream.port)) as file:
            sink = self._loop.run(lambda: self._capture(file))
            try:
                yield
            finally:
                with suppress(PortalEndedError):
                    self._loop.run(sink.detach)

    def _capture(self, file: CaptureFile) -> CaptureSink:
        now = trio.current_time()
        sink = CaptureSink(file, self._state.journal, time.time() - now, now)
        sink.attach(*self._state.journals)
        return sink

    # -- the end of a test

    def verify(self) -> None:
        """Check that each fault has struck, the upstream was reached, and frames were whole.

        What clients have sent before is passed on first: that takes at most 50 ms, or half a second
        where the server does not answer a connect. (Inside trio, with `open_proxy`, let your own
        loop run first: ``await trio.sleep(0)``.)

        Raises:
            VerificationError: the text says what is wrong, with the transcript.
        """
        self._controls.reviewer.verify()

    def problems(self) -> list[str]:
        """Return what `verify` would report, each problem in a few lines."""
        return self._controls.reviewer.problems()

    def review(self) -> Review:
        """Return the problems and the whole report, even if the proxy has ended."""
        return self._controls.reviewer.review()

    def reset(self) -> None:
        """Remove faults, empty the journal, reset old connections, and then return."""
        self._controls.reset()

    def __repr__(self) -> str:
        where = address_text(self.host, self.port, self._transports)
        return proxy_repr(where, self._state, is_down=self._controls.outage is not None)

    def __dir__(self) -> list[str]:
        return public_names(self)


def _match(match: Matchable | None) -> Match | None:
    return None if match is None else Match.of("match", match)
