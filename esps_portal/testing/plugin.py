"""The pytest plugin: a portal for each test, and a review at its end of how it was used.

A suite that has the plugin and asks for no portal pays for this module and nothing else: whatever
runs a portal is imported when the first test asks for one. Hence no attrs here.

A test ends in this order: what it did is reported (`pytest_runtest_makereport`, phase ``call``),
then the fixtures that depend on the portal are torn down, then the portal is reviewed and reset.
A test that has failed already is not failed again; its report gains what the portal knows.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Unpack

import pytest

from esps_portal.testing.settings import (
    SETTINGS,
    add_settings,
    read_settings,
    unusual_settings,
    where_port_is_set,
)
from esps_portal.testing.strays import Strays
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    import pluggy

    from esps_portal.testing.controller import PortalController
    from esps_portal.testing.options import PortalFactory, PortalOptions
    from esps_portal.testing.session import PortalAddress, SessionPortal
    from esps_portal.testing.threaded import ThreadedPortal

__tracebackhide__ = hides_frame

_MARKER = (
    "esps_portal(strict): whether an unexpected call, an unused stub or a fault that never struck"
    " fails the test; true unless the command line or the configuration says otherwise"
)

# The title of the section that is added to the report of a test that failed.
_SECTION = "esps-portal"


# ---- what is configured ------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings."""
    add_settings(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check the settings, before any test runs.

    Raises:
        pytest.UsageError: a setting makes no sense.
    """
    config.addinivalue_line("markers", _MARKER)
    config.stash[SETTINGS] = read_settings(config)
    config.stash[_STRAYS] = Strays()


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the settings that are not the defaults: they may be why a test behaves as it does."""
    unusual = unusual_settings(config.stash[SETTINGS])
    return f"esps-portal: {unusual}" if unusual else None


# ---- calls between tests -----------------------------------------------------------------------

_STRAYS = pytest.StashKey[Strays]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send them from a worker of xdist to its controller."""
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["esps_portal_strays"] = session.config.stash[_STRAYS].rows()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:  # noqa: ANN401 - a class of xdist
    """Take them from a worker that has ended."""
    output = getattr(node, "workeroutput", None) or {}
    node.config.stash[_STRAYS].add(output.get("esps_portal_strays", ()))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Report them; those that a stub of the session answered only with ``-v``."""
    lines = config.stash[_STRAYS].report(expected_too=config.option.verbose > 0)
    if lines:
        terminalreporter.section("esps-portal: calls while no test had the portal")
        for line in lines:
            terminalreporter.line(line)


# ---- what is known of a test -------------------------------------------------------------------


@dataclasses.dataclass
class _Account:
    """What is known of one test and its portals.

    Attributes:
        strict: what it, or the configuration, says.
        portals: those that it uses and that have not been reviewed yet.
        passed: it has run, and passed.
        texts: the reviews' texts; shown if the teardown fails.
        told: its report shows them already.
    """

    strict: bool
    portals: list[PortalController] = dataclasses.field(default_factory=list)
    passed: bool = False
    texts: list[str] = dataclasses.field(default_factory=list)
    told: bool = False

    def settle(self, portal: ThreadedPortal, *, strict: bool) -> str:
        """Review a portal that the test no longer uses; return what the test has to fail for."""
        from esps_portal.testing.controller import PortalEndedError

        self.portals.remove(portal)
        try:
            review = portal.release()
            wrong = strict and bool(review.problems)
        except PortalEndedError:
            review, wrong = portal.review(), True
        text = _signed(portal, review.text)
        self.texts.append(text)
        return text if wrong else ""

    def fail(self, text: str) -> None:
        """Fail the test, unless it has not passed anyway."""
        if text and self.passed:
            self.told = True
            pytest.fail(text, pytrace=False)


_ACCOUNT = pytest.StashKey[_Account]()


def _account(request: pytest.FixtureRequest) -> _Account:
    """Return the account of a test, opened when it asks for its first portal."""
    item: pytest.Item = request.node
    account = item.stash.get(_ACCOUNT, None)
    if account is None:
        account = item.stash[_ACCOUNT] = _Account(_is_strict(item))
    return account


def _is_strict(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("esps_portal")
    if mark is None:
        return item.config.stash[SETTINGS].strict
    strict = mark.kwargs.get("strict")
    if mark.args or set(mark.kwargs) != {"strict"} or not isinstance(strict, bool):
        said = [*map(repr, mark.args), *(f"{key}={value!r}" for key, value in mark.kwargs.items())]
        pytest.fail(
            "the marker esps_portal takes strict=True or strict=False and nothing else:"
            f" @pytest.mark.esps_portal({', '.join(said)})",
            pytrace=False,
        )
    return strict


def _signed(portal: PortalController, text: str) -> str:
    return f"{text}\n(portal at {portal.host} port {portal.port})"


# Of the old kind: the new one needs a newer pluggy than pytest 7 does.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Add what the portals know to the report of a test that failed."""
    outcome = yield
    account = item.stash.get(_ACCOUNT, None)
    if account is not None and outcome.excinfo is None:
        _complete(outcome.get_result(), item, call.when, account)


def _complete(report: pytest.TestReport, item: pytest.Item, when: str, account: _Account) -> None:
    if when == "teardown":
        del item.stash[_ACCOUNT]  # the test may be run again
        texts = [] if account.told else account.texts
    else:
        account.passed = when == "call" and report.passed
        texts = [
            _signed(portal, portal.review().text) for portal in account.portals if report.failed
        ]
    if report.failed and texts:
        report.sections.append((_SECTION, "\n\n".join(texts)))


# ---- the fixtures ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _esps_portal_of_session(pytestconfig: pytest.Config) -> Iterator[SessionPortal]:
    from esps_portal.testing.session import SessionPortal

    settings = pytestconfig.stash[SETTINGS]
    strays = pytestconfig.stash[_STRAYS]
    session = SessionPortal(
        settings.host, settings.port, strays, keep_idle=settings.reset == "keep"
    )
    yield session
    session.stop()


@pytest.fixture(scope="session")
def esps_portal_address(
    pytestconfig: pytest.Config, _esps_portal_of_session: SessionPortal
) -> PortalAddress:
    """Where the fixture `esps_portal` listens, for what is started once: host, port, url, udp_url.

    Its ``stub(...)`` answers in every test and between them, where the test's own stubs do not.
    """
    from esps_portal.testing.session import PortalAddress

    with _explained(pytestconfig):
        return PortalAddress(_esps_portal_of_session)


@pytest.fixture
def esps_portal(
    request: pytest.FixtureRequest, _esps_portal_of_session: SessionPortal
) -> Iterator[PortalController]:
    """A portal to talk to over TCP and UDP: stubs, faults, and a journal of what happened.

    At the end of the test each call must have been expected, each stub used, and each fault must
    have struck; what is open is reset. A fixture whose clients are to be closed before that
    depends on this one.
    """
    account = _account(request)
    with _explained(request.config):
        portal = _esps_portal_of_session.acquire(request.node.nodeid)
    account.portals.append(portal)
    yield portal
    account.fail(account.settle(portal, strict=account.strict))


@contextlib.contextmanager
def _explained(config: pytest.Config) -> Iterator[None]:
    """Fail the test, and say why, where the portal of the session cannot listen."""
    from esps_portal.net.bind import CannotBindError

    try:
        yield
    except CannotBindError as error:
        text = f"the portal of this test session: {error}"
        if config.stash[SETTINGS].port and hasattr(config, "workerinput"):
            text += (
                "\nEach xdist worker has a portal of its own, and only one of them can have this"
                f" port: leave {where_port_is_set(config)} out, and each takes a free one; or run"
                " with -n 0"
            )
        pytest.fail(text, pytrace=False)


@pytest.fixture
def esps_portal_factory(request: pytest.FixtureRequest) -> Iterator[PortalFactory]:
    """Start portals of the test's own: ``esps_portal_factory(host="::1", limits=..., strict=...)``.

    They end with the test, which answers for them as it does for the fixture `esps_portal`.
    """
    from esps_portal.testing.options import check_options
    from esps_portal.testing.threaded import ThreadedPortal

    account = _account(request)
    host = request.config.stash[SETTINGS].host
    started: list[tuple[ThreadedPortal, bool]] = []

    def start(*, strict: bool | None = None, **options: Unpack[PortalOptions]) -> PortalController:
        if strict is not None and not isinstance(strict, bool):
            raise TypeError(f"strict is True or False, not {strict!r}")
        check_options(options, also="strict")
        options.setdefault("host", host)
        portal = ThreadedPortal.start(**options)
        started.append((portal, account.strict if strict is None else strict))
        account.portals.append(portal)
        return portal

    yield start
    wrong = []
    for portal, strict in started:
        wrong.append(account.settle(portal, strict=strict))
        portal.stop()
    account.fail("\n\n".join(filter(None, wrong)))
