"""The portal of a test session: one for all tests, and for applications started once for them."""

from __future__ import annotations

import contextlib

from esps_portal.exports import public_names
from esps_portal.journal.records import RecordedCall
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import Script
from esps_portal.mock.stubs import Stub, describe_call
from esps_portal.net.authority import Authority
from esps_portal.server.portal_tls import portal_authority
from esps_portal.testing.calls_between_tests import CallsBetweenTests
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.threaded_portal import ThreadedPortal
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


class SessionPortal:
    """The portal of a test session: started when it is first needed, and lent to each test in turn.

    If it dies, or is stuck, another one replaces it: on the same port, with the same stubs of the
    session.

    Args:
        host: where it listens.
        port: 0 is a free one.
        calls_between_tests: where calls are noted that come while no test has it.
        keep_idle: leave idle connections open between tests.
        tls: speak TLS, with a certificate of a CA of the session's own, which a portal that
            replaces this one uses too.
    """

    def __init__(
        self,
        host: str,
        port: int,
        calls_between_tests: CallsBetweenTests,
        *,
        keep_idle: bool,
        tls: bool,
    ) -> None:
        self._host = host
        self._port = port
        self._calls_between_tests = calls_between_tests
        self._keep_idle = keep_idle
        self._tls = tls
        self._authority: Authority | None = None
        self._portal: ThreadedPortal | None = None
        self._stubs: list[Stub] = []
        self._last_test = ""

    def running(self) -> ThreadedPortal:
        """Return the portal, whether or not a test has it; start or replace it if needed.

        Raises:
            CannotBindError: the address cannot be bound.
            MissingExtraError: it is to speak TLS, and trustme is not installed.
        """
        if self._portal is None or not self._portal.is_running:
            if self._tls and self._authority is None:
                self._authority = portal_authority([self._host])
            self._portal = ThreadedPortal.start(
                self._stubs,
                keep_idle=self._keep_idle,
                authority=self._authority,
                host=self._host,
                port=self._port,
                tls=self._tls,
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
            calls = portal.acquire(_finished_calls)
        except PortalEndedError:  # it died just now
            portal = self.running()
            calls = portal.acquire(_finished_calls)
        self._note(calls)
        self._last_test = test
        return portal

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Place a stub that survives resets."""
        stub = self.running().place_permanent(service, *args)
        self._stubs.append(stub)
        return stub

    def stop(self) -> None:
        """End the portal, if it runs."""
        if self._portal is not None:
            with contextlib.suppress(PortalEndedError):
                self._note(self._portal.acquire(_finished_calls))
            self._portal.stop()
        if self._authority is not None:
            self._authority.close()

    def _note(self, calls: list[tuple[str, bool]]) -> None:
        for call, is_expected in calls:
            self._calls_between_tests.note(call, is_expected=is_expected, after=self._last_test)


def _finished_calls(script: Script) -> list[tuple[str, bool]]:
    """Return each call in the journal with its outcome, and whether a stub was there for it."""
    reasons = {(request.tag, request.args): reason for request, reason in script.unexpected}
    found = []
    for call in script.journal.calls_of():
        assert call.request is not None  # noqa: S101 - all calls have one
        reason = reasons.get((call.request.tag, call.request.args), "")
        name = call.service.encode()
        is_expected = name in script.stubs.by_name and call.code != "unmatched"
        found.append((f"{describe_call(name, call.args)}: {reason or _outcome(call)}", is_expected))
    return found


def _outcome(call: RecordedCall) -> str:
    if call.code:
        return f"answered with {call.code}"
    return "answered" if call.sent else "not answered"


class PortalAddress:
    """Where the portal of the fixture `esps_portal` is, for as long as the session lasts.

    For what is started once: an application, with a pool of connections. What happens there is
    known to the test that has the portal, not here.

    Attributes:
        host: a literal address, never a name.
        port: the port number, of TCP and UDP.
        url: the URL for TCP, or TLS.
        tls_ca: the path of the file of the CA to trust; `None`: there is no TLS.
    """

    def __init__(self, session: SessionPortal) -> None:
        portal = session.running()
        self._session = session
        self.host: str = portal.host
        self.port: int = portal.port
        self.url: str = portal.url
        self.tls_ca: str | None = portal.tls_ca

    def stub(self, service: str, *args: Matcher) -> Stub:
        """Answer a call in every test, and between tests; continue with ``.reply(...)`` and so on.

        ``esps_portal_address.stub("rate", ANY).reply("1.1")``
        It answers where no stub of the test does. No test fails because it was not used. Each test
        starts with its first answer, and with `times` at 0.

        Args:
            service: its name.
            args: like those of `PortalController.stub`.

        Raises:
            StubError: the name is not valid, or an answer is too long for a line.
        """
        return self._session.stub(service, *args)

    @property
    def udp_url(self) -> str:
        """The URL for UDP. Raises `RuntimeError` if the portal is not served over UDP."""
        return self._session.running().udp_url

    def __repr__(self) -> str:
        return f"<PortalAddress {self.url}>"

    def __dir__(self) -> list[str]:
        return public_names(self)
