"""A test's control over a running portal: stubs, faults, journal, assertions.

Everything is done in the portal's own event loop, whichever thread asks: a stub or a fault is in
force when the call that places it returns, and calls from several threads are safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from esps_portal.exports import public_names
from esps_portal.journal.recording import read_recording
from esps_portal.journal.records import Entry, RecordedCall, RecordedConnection
from esps_portal.mock.matching import Matcher
from esps_portal.mock.replay import replay
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_to_toml
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.mock.verification import find_problems, problem_report
from esps_portal.net.port_control import OutageKind
from esps_portal.protocol.urls import PortalURL
from esps_portal.services.declaring import DeclaresServices
from esps_portal.services.service import Service
from esps_portal.testing import waiting
from esps_portal.testing.call_wait import CallWait
from esps_portal.testing.fault_overloads import PlacesFaults
from esps_portal.testing.handles import Outage
from esps_portal.testing.portal_loop import PortalLoop
from esps_portal.testing.portal_repr import portal_repr
from esps_portal.testing.review import Review
from esps_portal.testing.scenario_text import scenario_text
from esps_portal.testing.served import IN_MEMORY, ServerAddress
from esps_portal.testing.server_controls import ServerControls
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class PortalController(DeclaresServices, PlacesFaults):
    """A portal for a test.

    Attributes:
        host: a literal address, never a name.
        port: the port number, of TCP and UDP; 0 where there are no sockets.
        tls_ca: the path of a PEM file with the CA that a client has to trust, as in
            ``connect(portal.url, cafile=portal.tls_ca)``; `None`: the portal has no TLS with a
            certificate of its own.
    """

    def __init__(
        self,
        portal: ScriptedPortal,
        loop: PortalLoop,
        address: ServerAddress = IN_MEMORY,
    ) -> None:
        self._name = "portal"
        self.host: str = address.host
        self.port: int = address.port
        self.tls_ca: str | None = address.tls_ca
        self._address = address
        self._portal = portal
        self._script = portal.script
        self._loop = loop
        self._controls = ServerControls(
            loop,
            self._script.faults,
            self._script.journal,
            partial(find_problems, self._script),
            partial(problem_report, self._script),
        )

    @property
    def url(self) -> str:
        """The URL for TCP, or TLS. Raises `RuntimeError` if the portal is not served over TCP."""
        return self._url("tls" if "tls" in self._address.transports else "tcp")

    @property
    def udp_url(self) -> str:
        """The URL for UDP. Raises `RuntimeError` if the portal is not served over UDP."""
        return self._url("udp")

    def _url(self, transport: str) -> str:
        if transport not in self._address.transports:
            raise RuntimeError(f"this portal is not served over {transport.upper()}: it has no URL")
        return str(PortalURL(transport, self.host, self.port))

    # -- stubs, faults, services

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Answer a call with exactly these arguments; continue with ``.reply(...)`` and so on.

        Of the stubs that match and are not used up, the one that was placed first answers::

            portal.stub("price", "sku-1").reply("9.99")
            portal.stub("price", ANY).fail("busy").reply("1")  # first, then

        Args:
            service: its name; a stub takes precedence over a service of the same name.
            args: one for each argument of the call: str (as UTF-8), bytes, `ANY`, a compiled
                regular expression that matches all of it, or a predicate that takes it as bytes;
                `ANY_ARGS` at the end for any number of others.

        Raises:
            StubError: the name is not valid.
            TypeError: an argument is none of these.
        """
        stub = Stub(service, args, max_line=self._portal.limits.longest_reply)
        return self._loop.run(lambda: self._script.stubs.place(stub))

    def down(self, how: OutageKind = "refuse") -> Outage:
        """Take the portal out of service, from now until the ``with`` block ends.

        ``with portal.down(how="silent"): ...``. The port stays ours all the time. Outages may
        overlap: the latest in force says how; the portal is up again when the last has ended.

        Args:
            how: ``refuse``, as if no server ran: connects and datagrams are refused (ECONNREFUSED),
                and open connections reset. ``silent``, as if the network were cut: connects time
                out, datagrams vanish in both directions, and open connections stand still until
                they go on with nothing lost. A client that waits to connect gets in when its system
                tries again, 1, 3, 7, 15 ... s after it began. See also `open_memory_portal`.

        Raises:
            ValueError: ``how`` is neither.
        """
        return self._controls.down(how)

    def _offer(self, service: Service) -> None:
        self._loop.run(lambda: self._portal.portal.add(service))

    def load(self, scenario: str | Path) -> None:
        """Add the stubs and faults of a scenario: all of them, or none.

        Args:
            scenario: a file, as a `Path` or a name that ends in ``.toml``; or the TOML itself.

        Raises:
            ScenarioError: a key of the scenario is wrong, and which; or its limits differ from
                this portal's, which are fixed when it starts.
            OSError: the file cannot be read.
        """
        parsed = read_scenario_toml(scenario_text(scenario))
        self._loop.run(lambda: parsed.apply(self._portal))

    def dump(self) -> str:
        """Return the stubs and faults that were placed, as the TOML of a scenario, for `load`.

        It has neither the journal nor how often each was used.

        Raises:
            ScenarioError: a stub has a predicate, which no file can hold.
        """
        return scenario_to_toml(self._loop.run(lambda: Scenario.of(self._portal)))

    def replay(self, path: str | Path) -> None:
        """Answer the calls of a recording as they were answered, in that order.

        Further calls get the last answer.

        Raises:
            RecordingError: the file is not a recording, holds no call of ESPS/1 that was answered,
                or does not fit this portal's limits.
            OSError: the file cannot be read.
        """
        recording = read_recording(Path(path).read_bytes())
        self._loop.run(lambda: replay(recording, self._portal))

    # -- the journal

    @contextmanager
    def record(self, path: str | Path) -> Iterator[None]:
        """Add to a recording what happens from now until the ``with`` block ends.

        ``with portal.record("calls.jsonl"): ...``

        Raises:
            CannotRecordError: the file cannot be opened, or is not a recording; at the end of the
                block: some of it could not be written.
        """
        with self._controls.view.record(path, self._portal.product):
            yield

    def calls(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of a service, or all, in order; a repeat over UDP does not count."""
        waiting.check_service(service)
        return self._loop.run(lambda: self._script.journal.calls_of(service))

    def connections(self) -> list[RecordedConnection]:
        """Return the TCP connections, in order."""
        return self._controls.view.connections()

    def journal(self) -> list[Entry]:
        """Return everything that happened, in order."""
        return self._controls.view.entries()

    def transcript(self) -> str:
        """Return everything that happened as text: when, on which connection, what."""
        return self._controls.view.transcript()

    def wait_for(
        self, service: str | None = None, *, count: int = 1, timeout: float = 1.0
    ) -> list[RecordedCall]:
        """Wait until a service, or any, was called ``count`` times. Returns its calls.

        Args:
            service: its name; by default any.
            count: 1 to 10,000, the number of calls that are kept.
            timeout: seconds, 0 or more.

        Raises:
            NotCalledError: it was not, in time.
            TypeError, ValueError: an argument is not valid.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop("portal")
        return CallWait(self._loop, self._script, service, count, timeout).block()

    async def wait_for_async(
        self,
        service: str | None = None,
        *,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedCall]:
        """Do the same in a coroutine, under asyncio, anyio or trio."""
        return await CallWait(self._loop, self._script, service, count, timeout).pause()

    def verify(self) -> None:
        """Check that each call was expected, each stub was used, and each fault has struck.

        What clients have sent before is answered first: that takes at most 50 ms. (Inside trio,
        with `open_portal`, let your own loop run first: ``await trio.sleep(0)``.)

        Raises:
            VerificationError: the text says what is wrong, with the transcript.
        """
        self._controls.reviewer.verify()

    def problems(self) -> list[str]:
        """Return what `verify` would report, each problem in a few lines."""
        return self._controls.reviewer.problems()

    def review(self) -> Review:
        """Return the problems and the whole report, even if the portal has ended."""
        return self._controls.reviewer.review()

    def reset(self) -> None:
        """Remove stubs and faults, empty the journal, end old connections, and then return."""
        self._controls.reset()

    def __repr__(self) -> str:
        return portal_repr(self._address, self._script, outage=self._controls.outage)

    def __dir__(self) -> list[str]:
        return public_names(self)
