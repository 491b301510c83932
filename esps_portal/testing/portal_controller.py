"""A test's control over a running portal: stubs, services, calls."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from esps_portal.journal.recording import read_recording
from esps_portal.journal.records import RecordedCall
from esps_portal.mock.matching import Matcher
from esps_portal.mock.replay import replay
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_to_toml
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.mock.verification import find_problems, problem_report
from esps_portal.protocol.urls import PortalURL
from esps_portal.services.service import Service
from esps_portal.services.service_decorator import DeclaresServices
from esps_portal.testing import waiting
from esps_portal.testing.controlled_server import ControlledServer
from esps_portal.testing.portal_loop import PortalLoop
from esps_portal.testing.record_waits import call_wait
from esps_portal.testing.scenario_text import scenario_text
from esps_portal.testing.served import IN_MEMORY, ServerAddress
from esps_portal.testing.server_controller import ServerController
from esps_portal.testing.server_repr import portal_repr
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class PortalController(DeclaresServices, ServerController):
    """A portal for a test.

    It was used as expected if each call was expected, each stub was used, and each fault has
    struck.

    Attributes:
        host: a literal address, never a name.
        port: the port number, of TCP and UDP; 0 where there are no sockets.
        tls_ca: the path of a PEM file with the CA that a client has to trust, as in
            ``connect(portal.url, cafile=portal.tls_ca)``; `None`: the portal has no TLS with a
            certificate of its own.
    """

    def __init__(
        self, portal: ScriptedPortal, loop: PortalLoop, address: ServerAddress = IN_MEMORY
    ) -> None:
        script = portal.script
        server = ControlledServer(
            loop, portal, partial(find_problems, script), partial(problem_report, script)
        )
        super().__init__("portal", address, server, portal.product)
        self._portal = portal
        self._script = script

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
        return self._loop.access(lambda: self._script.stubs.place(stub))

    def _offer(self, service: Service) -> None:
        self._loop.run(lambda: self._portal.portal.add(service))

    def load(self, scenario: str | Path) -> None:
        """Add the stubs and faults of a scenario: all of them, or none.

        The file may be the one that ``esps-portal run`` uses. Its ``[[peers]]`` are for
        ``esps_peer(scenario=..., name=...)``, its ``[[proxies]]`` for ``proxy.load(...)``.

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

    def calls(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of a service, or all, in order; a repeat over UDP does not count."""
        waiting.check_service(service)
        return self._loop.access(lambda: self._script.journal.calls_of(service))

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
        return call_wait(self._server.view, service, count, timeout).block()

    async def wait_for_async(
        self,
        service: str | None = None,
        *,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedCall]:
        """Wait as `wait_for` does, in a coroutine under asyncio, anyio or trio."""
        return await call_wait(self._server.view, service, count, timeout).pause()

    def __repr__(self) -> str:
        return portal_repr(self._address, self._script, outage=self._server.outage)
