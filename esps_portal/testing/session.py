"""The portal of a test session: one for all tests, and for what is started once beside them."""

from __future__ import annotations

import contextlib

from esps_portal.journal.records import RecordedCall
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import Script
from esps_portal.mock.stubs import Stub, shown_call
from esps_portal.testing.controller import PortalEndedError
from esps_portal.testing.strays import Strays
from esps_portal.testing.threaded import ThreadedPortal
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class SessionPortal:
    """The portal of a test session: started when it is first needed, and lent to each test in turn.

    If it dies, or is stuck, another one takes its place: on the same port, with the same stubs of
    the session.

    Args:
        port: 0 is a free one.
        strays: where calls are noted that come while no test has it.
        keep_idle: leave idle connections open between tests.
    """

    def __init__(self, host: str, port: int, strays: Strays, *, keep_idle: bool) -> None:
        self._host = host
        self._port = port
        self._strays = strays
        self._keep_idle = keep_idle
        self._portal: ThreadedPortal | None = None
        self._stubs: list[Stub] = []
        self._last_test = ""

    def running(self) -> ThreadedPortal:
        """Return it, whoever has it.

        Raises:
            CannotBindError: the address cannot be bound.
        """
        if self._portal is None or not self._portal.is_running:
            self._portal = ThreadedPortal.start(
                self._stubs, keep_idle=self._keep_idle, host=self._host, port=self._port
            )
            self._port = self._portal.port
        return self._portal

    def acquire(self, test: str) -> ThreadedPortal:
        """Let a test have it.

        Raises:
            CannotBindError: the address cannot be bound.
        """
        portal = self.running()
        try:
            strays = portal.acquire(_strays)
        except PortalEndedError:  # it died just now
            portal = self.running()
            strays = portal.acquire(_strays)
        self._note(strays)
        self._last_test = test
        return portal

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Place a stub that survives resets."""
        stub = self.running().place_permanent(service, *args)
        self._stubs.append(stub)
        return stub

    def stop(self) -> None:
        """End it, if there is one."""
        if self._portal is not None:
            with contextlib.suppress(PortalEndedError):
                self._note(self._portal.acquire(_strays))
            self._portal.stop()

    def _note(self, strays: list[tuple[str, bool]]) -> None:
        for call, is_expected in strays:
            self._strays.note(call, is_expected=is_expected, after=self._last_test)


def _strays(script: Script) -> list[tuple[str, bool]]:
    """Return each call that the journal holds, and whether a stub was there for it."""
    why = {(request.tag, request.args): reason for request, reason in script.unexpected}
    found = []
    for call in script.journal.calls_of():
        assert call.request is not None  # noqa: S101 - else it is no call
        reason = why.get((call.request.tag, call.request.args), "")
        name = call.service.encode()
        is_expected = name in script.stubs.by_name and call.code != "unmatched"
        found.append((f"{shown_call(name, call.args)}: {reason or _outcome(call)}", is_expected))
    return found


def _outcome(call: RecordedCall) -> str:
    if call.code:
        return f"answered with {call.code}"
    return "answered" if call.sent else "not answered"


class PortalAddress:
    """Where the portal of the fixture `esps_portal` is, for as long as the session lasts.

    For what is started once: an application, with a pool of connections. It says nothing of what
    has happened there: that is the affair of the test that has the portal.

    Attributes:
        host: a literal address, never a name.
        port: the number, of TCP and UDP.
        url: the URL for TCP.
        udp_url: the URL for UDP.
    """

    def __init__(self, session: SessionPortal) -> None:
        portal = session.running()
        self._session = session
        self.host: str = portal.host
        self.port: int = portal.port
        self.url: str = portal.url
        self.udp_url: str = portal.udp_url

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Answer a call in every test, and between tests; go on with ``.reply(...)`` or its like.

        It answers where no stub of the test does. No test fails because it was not used. With
        each test it begins anew: the first of its answers comes first, `times` counts from 0.

        Args:
            args: as those of `PortalController.stub`.

        Raises:
            StubError: the name is none, or an answer is too long for a line.
        """
        return self._session.stub(service, *args)

    def __repr__(self) -> str:
        return f"<PortalAddress {self.url}>"
