"""The pytest plugin: a portal for each test, and a review at its end of how it was used.

A suite that has the plugin and asks for no portal pays for this module and nothing else: whatever
runs a portal is imported when the first test asks for one. Hence no attrs here.

A test ends in this order: what it did is reported (`pytest_runtest_makereport`, phase ``call``),
then the fixtures that depend on the portal are torn down, then the portal is reviewed and reset.
A test that has failed already is not failed again; its report gains what the portal knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Unpack

import pytest

from esps_portal.testing.settings import (
    SETTINGS,
    Settings,
    add_settings,
    read_settings,
    unusual_settings,
)

if TYPE_CHECKING:
    import pluggy

    from esps_portal.testing.options import PortalFactory, PortalOptions
    from esps_portal.testing.running import RunningPortal
    from esps_portal.testing.threaded import ThreadedPortal

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


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the settings that are not the defaults: they may be why a test behaves as it does."""
    unusual = unusual_settings(config.stash[SETTINGS])
    return f"esps-portal: {unusual}" if unusual else None


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
    portals: list[RunningPortal] = dataclasses.field(default_factory=list)
    passed: bool = False
    texts: list[str] = dataclasses.field(default_factory=list)
    told: bool = False

    def settle(self, portal: ThreadedPortal, *, strict: bool) -> str:
        """Review a portal that the test no longer uses; return what the test has to fail for."""
        from esps_portal.testing.running import PortalEndedError

        self.portals.remove(portal)
        try:
            review = portal.give_back()
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


def _signed(portal: RunningPortal, text: str) -> str:
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


class _SessionPortal:
    """The portal of a test session: started for the first test that asks, replaced if it dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._portal: ThreadedPortal | None = None

    def running(self) -> ThreadedPortal:
        """Return it."""
        if self._portal is None or not self._portal.is_running:
            from esps_portal.testing.threaded import ThreadedPortal

            self._portal = ThreadedPortal.start(host=self._settings.host, port=self._settings.port)
        self._portal.lend()
        return self._portal

    def stop(self) -> None:
        """End it, if there is one."""
        if self._portal is not None:
            self._portal.stop()


@pytest.fixture(scope="session")
def _esps_portal_of_session(pytestconfig: pytest.Config) -> Iterator[_SessionPortal]:
    session = _SessionPortal(pytestconfig.stash[SETTINGS])
    yield session
    session.stop()


@pytest.fixture
def esps_portal(
    request: pytest.FixtureRequest, _esps_portal_of_session: _SessionPortal
) -> Iterator[RunningPortal]:
    """A portal to talk to over TCP and UDP: stubs, faults, and a journal of what happened.

    At the end of the test each call must have been expected, each stub used, and each fault must
    have struck; what is open is reset. A fixture whose clients are to be closed before that
    depends on this one.
    """
    from esps_portal.server.binding import CannotBindError

    account = _account(request)
    try:
        portal = _esps_portal_of_session.running()
    except CannotBindError as error:
        pytest.fail(f"the portal of this test session: {error}", pytrace=False)
    account.portals.append(portal)
    yield portal
    account.fail(account.settle(portal, strict=account.strict))


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

    def start(*, strict: bool | None = None, **options: Unpack[PortalOptions]) -> RunningPortal:
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
