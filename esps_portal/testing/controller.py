"""A portal that runs, as a test has it: stubs, faults, journal, assertions.

Everything is done in the portal's own event loop, whichever thread asks: what a call places is in
force when the call returns, and calls from several threads are safe.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar, Unpack, overload

from esps_portal.faults.fault import Fault
from esps_portal.journal.record_file import RecordFile
from esps_portal.journal.recording import read_recording
from esps_portal.journal.records import Entry, RecordedCall, RecordedConnection
from esps_portal.journal.transcript import transcript
from esps_portal.journal.waiters import Waiter
from esps_portal.mock.matching import Matcher
from esps_portal.mock.replay import replay
from esps_portal.mock.scenario import Scenario
from esps_portal.mock.scenario_reading import read_scenario_toml
from esps_portal.mock.scenario_writing import scenario_toml
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.mock.verification import MOST_LINES
from esps_portal.protocol.errors import EspsError, TimedOutError
from esps_portal.protocol.urls import PortalURL
from esps_portal.services.service import Declaration
from esps_portal.testing import waiting
from esps_portal.testing.description import describe_portal
from esps_portal.testing.fault_overloads import PlacesFaults
from esps_portal.testing.handles import Outage, PlacedFault
from esps_portal.testing.review import Review, VerificationError, find_problems, report
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Result = TypeVar("_Result")
_Function = TypeVar("_Function", bound=Callable[..., Any])


class PortalEndedError(EspsError, RuntimeError):
    """The portal was used after its end; or it died, and the cause is attached."""


class NotCalledError(TimedOutError, AssertionError):
    """The calls that were waited for did not come in time. Its text shows what did."""


class Loop(waiting.Runs, Protocol):
    """How the loop of a portal is reached."""

    def run_when_quiet(self, function: Callable[[], _Result]) -> _Result:
        """Run a function once what clients have sent is answered, as far as that is possible."""

    def reset(self) -> None:
        """Begin anew; see `PortControl.reset`."""

    def down(self) -> None:
        """Take the ports out of service."""

    def up(self) -> None:
        """Take them back."""


class PortalController(PlacesFaults):
    """A portal for a test.

    Attributes:
        host: a literal address, never a name.
        port: the number, of TCP and UDP; 0 where there are no sockets.
    """

    def __init__(
        self,
        portal: ScriptedPortal,
        loop: Loop,
        address: tuple[str, int] = ("memory", 0),
        transports: Collection[str] = (),
    ) -> None:
        self.host: str = address[0]
        self.port: int = address[1]
        self._transports = transports
        self._portal = portal
        self._script = portal.script
        self._loop = loop
        self._outages: list[Outage] = []

    @property
    def url(self) -> str:
        """The URL for TCP. Raises `RuntimeError` where that is not served."""
        return self._url("tcp")

    @property
    def udp_url(self) -> str:
        """The URL for UDP. Raises `RuntimeError` where that is not served."""
        return self._url("udp")

    def _url(self, transport: str) -> str:
        if transport not in self._transports:
            raise RuntimeError(f"this portal is not served over {transport.upper()}: it has no URL")
        return str(PortalURL(transport, self.host, self.port))

    # -- the script

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Answer a call with exactly these arguments; go on with ``.reply(...)`` or its like.

        The first stub that matches, in the order of placing, and is not used up answers::

            portal.stub("price", "sku-1").reply("9.99")
            portal.stub("price", ANY).fail("busy").reply("1")  # first, then

        Args:
            service: its name; a stub comes before a service of the same name.
            args: one for each argument of the call: text (as UTF-8), bytes, `ANY`, a compiled
                regular expression that matches all of it, or a predicate that takes it as bytes;
                `ANY_ARGS` at the end for any others, or none.

        Raises:
            StubError: that is no name of a service.
            TypeError: an argument is nothing that can match.
        """
        stub = Stub(service, args, max_line=self._portal.limits.max_line)
        return self._loop.run(lambda: self._script.stubs.place(stub))

    def _place(self, fault: Fault) -> PlacedFault:
        self._loop.run(lambda: self._script.faults.place(fault))
        return PlacedFault(fault, self._script.faults, self._loop, self._what_happened)

    def down(self) -> Outage:
        """Refuse every connect and every datagram, from now until the ``with`` block ends.

        Open connections are reset; the port stays taken. Outages may overlap: the portal is up
        again when the last one has ended.
        """
        outage = Outage(self._end_outage)
        self._outages.append(outage)
        self._loop.down()
        return outage

    def _end_outage(self, outage: Outage) -> None:
        if outage in self._outages:
            self._outages.remove(outage)
            if not self._outages:
                self._loop.up()

    @overload
    def service(self, function: _Function, /) -> _Function: ...

    @overload
    def service(
        self, /, **declaration: Unpack[Declaration]
    ) -> Callable[[_Function], _Function]: ...

    def service(
        self, function: _Function | None = None, /, **declaration: Unpack[Declaration]
    ) -> _Function | Callable[[_Function], _Function]:
        """Declare a service for this test, ``@portal.service`` or ``@portal.service(name=...)``.

        It is called in the portal's thread. What it raises unforeseen is one of the `problems`.
        See `Portal.service`.
        """

        def declare(function: _Function) -> _Function:
            return self._loop.run(lambda: self._portal.portal.service(**declaration)(function))

        return declare if function is None else declare(function)

    def load(self, scenario: str | Path) -> None:
        """Add the stubs and faults of a scenario: all of them, or none.

        Args:
            scenario: a file, as a `Path` or a name that ends in ``.toml``; or the TOML itself.

        Raises:
            ScenarioError: it is not a scenario, and which key is wrong; or its limits differ from
                this portal's, which are fixed when it starts.
            OSError: the file cannot be read.
        """
        planned = read_scenario_toml(_scenario_text(scenario))
        self._loop.run(lambda: planned.apply(self._portal))

    def dump(self) -> str:
        """Return the stubs and faults that were placed as a scenario that `load` takes.

        Neither how often each was used nor the journal is part of it.

        Raises:
            ScenarioError: a stub has a predicate, which no file can hold.
        """
        return scenario_toml(self._loop.run(lambda: Scenario.of(self._portal)))

    def replay(self, path: str | Path) -> None:
        """Answer the calls of a recording as they were answered, in that order, the last for ever.

        Raises:
            RecordingError: it is not a recording, or does not fit this portal's limits.
            OSError: the file cannot be read.
        """
        recording = read_recording(Path(path).read_bytes())
        self._loop.run(lambda: replay(recording, self._portal))

    # -- the journal

    @contextmanager
    def record(self, path: str | Path) -> Iterator[None]:
        """Add to a recording what happens from now until the ``with`` block ends.

        Raises:
            CannotRecordError: the file cannot be written, or is not a recording.
        """
        with RecordFile(Path(path), self._portal.product) as file:
            sinks, write = self._script.journal.sinks, file.write
            self._loop.run(lambda: sinks.append(write))
            try:
                yield
            finally:
                with suppress(PortalEndedError):
                    self._loop.run(lambda: sinks.remove(write))

    def calls(self, service: str | None = None) -> list[RecordedCall]:
        """Return the calls of a service, or all, in order; a repeat over UDP is not one."""
        waiting.check_service(service)
        return self._loop.run(lambda: self._script.journal.calls_of(service))

    def connections(self) -> list[RecordedConnection]:
        """Return the TCP connections, in order."""
        return self._loop.run(lambda: list(self._script.journal.connections))

    def journal(self) -> list[Entry]:
        """Return everything that happened, in order."""
        return self._loop.run(self._script.journal.entries)

    def transcript(self) -> str:
        """Return a picture of who sent what when."""
        return self._loop.run(lambda: transcript(self._script.journal))

    def wait_for(
        self, service: str | None = None, *, count: int = 1, timeout: float = 1.0
    ) -> list[RecordedCall]:
        """Wait until a service, or any, was called ``count`` times. Returns its calls.

        Args:
            count: 1 to 10,000, which is how many calls are kept.
            timeout: seconds.

        Raises:
            NotCalledError: it was not, in time.
            TypeError, ValueError: an argument makes no sense.
            RuntimeError: an event loop runs in this thread, which this would block.
        """
        waiting.check_loop("portal")
        if not self._wait(service, count, timeout).block(timeout):
            raise self._not_called(service, count, timeout)
        return self.calls(service)

    async def wait_for_async(
        self,
        service: str | None = None,
        *,
        count: int = 1,
        timeout: float = 1.0,  # noqa: ASYNC109 - the blocking one has it, and asyncio no scopes
    ) -> list[RecordedCall]:
        """Do the same in a coroutine, under asyncio, anyio or trio."""
        if not await self._wait(service, count, timeout).pause(timeout):
            raise self._not_called(service, count, timeout)
        return self.calls(service)

    def verify(self) -> None:
        """Check that each call was expected, each stub used, and that each fault struck.

        What clients have sent before is answered first: at most 50 ms are spent on that. (Inside
        trio, with `open_portal`, that needs a turn of your own loop first.)

        Raises:
            VerificationError: what is wrong, and the transcript.
        """
        review = self._loop.run_when_quiet(self._reviewed)
        if review.problems:
            raise VerificationError(review.text)

    def problems(self) -> list[str]:
        """Return what `verify` would complain of, each in a few lines."""
        return self._loop.run_when_quiet(lambda: find_problems(self._script))

    def review(self) -> Review:
        """Return the same, and all that happened; even for a portal that has ended."""
        try:
            return self._loop.run_when_quiet(self._reviewed)
        except PortalEndedError as error:
            # Its thread has gone, so the journal can be read from here.
            cause = error.__cause__
            how = "" if cause is None else "\n" + "".join(traceback.format_exception(cause))
            problems = [f"{error}{how}".rstrip(), *find_problems(self._script)]
            return Review(problems, report(self._script, problems))

    def reset(self) -> None:
        """Forget stubs, faults and journal, and end old connections, before it returns."""
        self._loop.reset()
        self._begin_anew()

    def __repr__(self) -> str:
        transports = " and ".join(transport.upper() for transport in self._transports)
        where = f"at {self.host} port {self.port} ({transports})" if transports else "in memory"
        return describe_portal(where, self._script, is_down=bool(self._outages))

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.startswith("_")]

    # -- within

    def _begin_anew(self) -> None:
        self._outages.clear()

    def _reviewed(self) -> Review:
        problems = find_problems(self._script)
        return Review(problems, report(self._script, problems))

    def _what_happened(self) -> str:
        return transcript(self._script.journal, most=MOST_LINES)

    def _wait(self, service: str | None, count: int, timeout: float) -> waiting.Wait:
        waiting.check_service(service)
        waiting.check(count, timeout)
        waiting.check_kept(count)
        journal = self._script.journal

        def begin(met: Callable[[], None]) -> Waiter:
            return journal.add_waiter(service, count, met)

        return waiting.Wait(self._loop, journal.waiters, begin)

    def _not_called(self, service: str | None, count: int, timeout: float) -> NotCalledError:
        calls = len(self.calls(service))
        what = f"{service or 'anything'} was called {calls} of {count} times in {timeout:g} s"
        return NotCalledError(f"{what}\n{self._loop.run(self._what_happened)}")


def _scenario_text(scenario: str | Path) -> str:
    # No line of TOML ends so, but for a comment.
    if isinstance(scenario, str) and ("\n" in scenario or not scenario.endswith(".toml")):
        return scenario
    return Path(scenario).read_text(encoding="utf-8")
