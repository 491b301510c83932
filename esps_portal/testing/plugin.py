"""The pytest plugin: a portal for each test, and a review at its end of how it was used.

A suite that has the plugin and uses no portal imports this module and little else: whatever runs
a portal is imported when the first test asks for one. Hence no attrs here.

A test ends in this order: its proxies pass on what clients have sent; it is reported
(`pytest_runtest_makereport`, phase ``call``); the fixtures that depend on the portal are torn down;
the portal is reviewed and reset. A test that has already failed does not fail again; its report
gains a section of what happened.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Unpack

import pytest

from esps_portal.testing.calls_between_tests import CallsBetweenTests
from esps_portal.testing.factory import Factory
from esps_portal.testing.own_thread import OwnThread  # noqa: F401 - before a test replaces it
from esps_portal.testing.portals_of_test import (
    PORTALS,
    PortalsOfTest,
    StartedByTest,
    portals_of_test,
)
from esps_portal.testing.session_listening import session_listening
from esps_portal.testing.settings import (
    SETTINGS,
    add_settings,
    read_settings,
    taken_option,
    unusual_settings,
)
from esps_portal.tracebacks import hide_causes, hides_frame

if TYPE_CHECKING:
    import pluggy

    from esps_portal.framings.framing import Framing
    from esps_portal.testing.peer_controller import PeerController
    from esps_portal.testing.peer_options import PeerFactory, PeerOptions
    from esps_portal.testing.portal_controller import PortalController
    from esps_portal.testing.portal_options import PortalFactory, PortalOptions
    from esps_portal.testing.proxy_controller import ProxyController
    from esps_portal.testing.proxy_options import ProxyFactory, ProxyOptions
    from esps_portal.testing.session_portal import PortalAddress, SessionPortal
    from esps_portal.testing.threaded_portal import ThreadedPortal

__tracebackhide__ = hides_frame

_MARKER = (
    "esps_portal(strict): whether an unexpected call, an unused stub or a fault that never struck"
    " fails the test; by default as the setting esps_portal_strict says"
)

# The title of the section in the report of a test that failed.
_SECTION = "esps-portal"


# ---- settings ----------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings of this plugin."""
    add_settings(parser)


# An old-style wrapper: a new-style one needs a newer pluggy than pytest 7 does.
@pytest.hookimpl(hookwrapper=True)
def pytest_load_initial_conftests(
    parser: pytest.Parser,
) -> Generator[None, pluggy.Result[None], None]:
    """Say in one line that a conftest file has an option of ours; pytest shows a traceback.

    We cannot give way: pytest 9 accepts the first of two options, and ours comes first.

    Raises:
        pytest.UsageError: it has one.
    """
    outcome = yield
    option = taken_option(parser, outcome.excinfo[1] if outcome.excinfo else None)
    if option:
        error = pytest.UsageError(
            f"a conftest.py adds the option {option}, which the plugin esps-portal has;"
            " rename it, or use pytest without the plugin: -p no:esps_portal"
        )
        if not hasattr(outcome, "force_exception"):
            raise error
        outcome.force_exception(error)  # newer pluggy warns of a wrapper that raises


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check the settings, before any test runs.

    Raises:
        pytest.UsageError: a setting has a wrong value.
    """
    config.addinivalue_line("markers", _MARKER)
    config.stash[SETTINGS] = read_settings(config)
    config.stash[_CALLS] = CallsBetweenTests()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Show the settings that are not the defaults: they may explain how a test behaves."""
    unusual = unusual_settings(config.stash[SETTINGS])
    return f"esps-portal: {unusual}" if unusual else None


# ---- calls between tests -----------------------------------------------------------------------

_CALLS = pytest.StashKey[CallsBetweenTests]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send the calls between tests from a worker of xdist to its controller."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["esps_portal_calls_between_tests"] = session.config.stash[_CALLS].rows()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - a class of xdist
    """Add the calls of a worker that has ended."""
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash[_CALLS].add(output.get("esps_portal_calls_between_tests", ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List the calls between tests; with ``-v`` also those that a stub of the session answered."""
    lines = config.stash[_CALLS].report(with_expected=config.option.verbose > 0)
    if lines:
        terminalreporter.section("esps-portal: calls while no test had the portal")
        for line in lines:
            terminalreporter.line(line)


# ---- the report of a test ----------------------------------------------------------------------


@pytest.hookimpl(hookwrapper=True, tryfirst=True)  # old-style, as above
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Add what happened at its portals to the report of a test that failed, and hide causes."""
    if call.excinfo is not None and not item.config.getoption("fulltrace"):
        hide_causes(call.excinfo.value)
    portals = item.stash.get(PORTALS, None)
    if portals is not None and call.when == "call":
        for note_end in portals.at_end:
            note_end()
    outcome = yield
    if portals is not None and outcome.excinfo is None:
        _add_section(outcome.get_result(), item, call.when, portals)


def _add_section(
    report: pytest.TestReport, item: pytest.Item, phase: str, portals: PortalsOfTest
) -> None:
    if phase == "teardown":
        del item.stash[PORTALS]  # the test may run again
        texts = [] if portals.has_failed_test else portals.reports
    else:
        portals.has_passed = phase == "call" and report.passed
        texts = [
            portals.report(portal, portal.review().text)
            for portal in portals.in_use
            if report.failed
        ]
    if report.failed and texts:
        report.sections.append((_SECTION, "\n\n".join(texts)))


# ---- the fixtures ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _esps_portal_of_session(pytestconfig: pytest.Config) -> Iterator[SessionPortal]:
    from esps_portal.testing.session_portal import SessionPortal

    settings = pytestconfig.stash[SETTINGS]
    calls = pytestconfig.stash[_CALLS]
    portal = SessionPortal(
        settings.host,
        settings.port,
        calls,
        keep_idle=settings.reset == "keep",
        tls=settings.tls,
    )
    yield portal
    portal.stop()


@pytest.fixture(scope="session")
def esps_portal_address(
    pytestconfig: pytest.Config, _esps_portal_of_session: SessionPortal
) -> PortalAddress:
    """The address of `esps_portal` for an application started once: host, port, url, udp_url.

    Its ``stub(...)`` answers in every test and between tests, where the test's own stubs do not.
    """
    from esps_portal.testing.session_portal import PortalAddress

    return session_listening(pytestconfig, lambda: PortalAddress(_esps_portal_of_session))


@pytest.fixture
def esps_portal(
    request: pytest.FixtureRequest, _esps_portal_of_session: SessionPortal
) -> Iterator[PortalController]:
    """A portal to talk to over TCP and UDP: stubs, faults, and a journal of what happened.

    ``esps_portal.stub("price", "sku-1").reply("9.99")``

    At the end of the test each call must have been expected, each stub used, and each fault must
    have struck; open connections are reset. A fixture that closes clients before that must depend
    on this one.
    """
    portals = portals_of_test(request)
    session = _esps_portal_of_session
    portal = session_listening(request.config, lambda: session.acquire(request.node.nodeid))
    portals.resets[portal] = _connections_reset(portal.connections_reset, request.config)
    portals.in_use.append(portal)
    yield portal
    portals.fail_test(portals.release(portal, strict=portals.is_strict))


def _connections_reset(count: int, config: pytest.Config) -> str:
    """Return a line for the report of a test whose client may have used such a connection."""
    if not count or config.stash[SETTINGS].reset == "keep":
        return ""
    connections = "1 connection" if count == 1 else f"{count} connections"
    return (
        f"\n{connections} of earlier tests {'was' if count == 1 else 'were'} reset before this"
        " test: esps_portal_reset = keep leaves idle ones open"
    )


@pytest.fixture
def esps_portal_factory(request: pytest.FixtureRequest) -> Iterator[PortalFactory]:
    """Start portals of the test's own: ``esps_portal_factory(host="::1", limits=..., strict=...)``.

    They end with the test, which fails for them as it does for `esps_portal`.
    """
    from esps_portal.testing.portal_options import check_options
    from esps_portal.testing.threaded_portal import ThreadedPortal

    host = request.config.stash[SETTINGS].host
    started: StartedByTest[ThreadedPortal] = StartedByTest(portals_of_test(request))

    def start(*, strict: bool | None = None, **options: Unpack[PortalOptions]) -> PortalController:
        check_options(options, also="strict")
        options.setdefault("host", host)
        return started.start(lambda: ThreadedPortal.start(**options), strict=strict)

    yield Factory(start, "portal = esps_portal_factory()")
    started.end()


@pytest.fixture
def esps_proxy(request: pytest.FixtureRequest) -> Iterator[ProxyFactory]:
    """Start proxies in front of real servers: ``esps_proxy("tcp://127.0.0.1:6379", framing=...)``.

    They end with the test: each fault must have struck, the server must have been reached
    (``unreachable="ok"`` relaxes), and with a framing no bytes may be left that are not a frame.
    """
    from esps_portal.testing.proxy_options import check_proxy_options
    from esps_portal.testing.threaded_proxy import ThreadedProxy

    host = request.config.stash[SETTINGS].host
    started: StartedByTest[ThreadedProxy] = StartedByTest(portals_of_test(request))

    def start(
        upstream: str, *, strict: bool | None = None, **options: Unpack[ProxyOptions]
    ) -> ProxyController:
        check_proxy_options(options, also="strict")
        options.setdefault("host", host)
        proxy = started.start(lambda: ThreadedProxy.start(upstream, **options), strict=strict)
        started.portals.at_end.append(proxy.note_end_of_test)
        return proxy

    yield Factory(start, 'proxy = esps_proxy("tcp://HOST:PORT")')
    started.end()


@pytest.fixture
def esps_peer(request: pytest.FixtureRequest) -> Iterator[PeerFactory]:
    r"""Start peers that play servers of any protocol: ``esps_peer(lines("\r\n"))``.

    They end with the test: each frame must have been expected, each stub and conversation used up,
    each fault must have struck, and no bytes may be left that are not a frame.
    """
    from esps_portal.testing.peer_options import check_peer_options
    from esps_portal.testing.threaded_peer import ThreadedPeer

    host = request.config.stash[SETTINGS].host
    started: StartedByTest[ThreadedPeer] = StartedByTest(portals_of_test(request))

    def start(
        framing: Framing | None = None,
        *,
        strict: bool | None = None,
        **options: Unpack[PeerOptions],
    ) -> PeerController:
        check_peer_options(options, also="strict")
        options.setdefault("host", host)
        return started.start(lambda: ThreadedPeer.start(framing, **options), strict=strict)

    yield Factory(start, "peer = esps_peer(lines())")
    started.end()
