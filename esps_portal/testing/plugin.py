"""The pytest plugin: a portal for each test, and a review at its end of how it was used.

A suite that has the plugin and asks for no portal pays for this module and nothing else: whatever
runs a portal is imported when the first test asks for one. Hence no attrs here.

A test ends in this order: what it did is reported (`pytest_runtest_makereport`, phase ``call``),
then the fixtures that depend on the portal are torn down, then the portal is reviewed and reset.
A test that has failed already is not failed again; its report gains what the portal knows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeVar, Unpack

import pytest

if TYPE_CHECKING:
    from esps_portal.testing.options import PortalFactory, PortalOptions
    from esps_portal.testing.running import RunningPortal
    from esps_portal.testing.threaded import ThreadedPortal

_Value = TypeVar("_Value")

_MARKER = (
    "esps_portal(strict): whether an unexpected call, an unused stub or a fault that never struck"
    " fails the test; true unless the command line or the configuration says otherwise"
)
_WHAT = {
    "host": "the address where portals listen (127.0.0.1)",
    "port": "the port of the fixture esps_portal (0, a free one)",
    "strict": "whether an unexpected call, an unused stub or a fault that never struck fails a"
    " test (yes)",
}
_METAVARS = {"host": "ADDRESS", "port": "NUMBER", "strict": "yes|no"}
_TRUTH = {
    **dict.fromkeys(("yes", "true", "on", "1"), True),
    **dict.fromkeys(("no", "false", "off", "0"), False),
}
_MEANT = {"host": "an address", "port": "a number from 0 to 65535", "strict": "yes or no"}

# The title of the section that is added to the report of a test that failed.
_SECTION = "esps-portal"


# ---- what is configured ------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Settings:
    host: str
    port: int
    strict: bool


_SETTINGS = pytest.StashKey[_Settings]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add each setting twice: the command line overrides the configuration file."""
    group = parser.getgroup("esps-portal", "a TCP and UDP peer for tests (esps-portal)")
    # In pytest's own TOML tables values have types: there a port is a number.
    number = "int" if pytest.version_tuple >= (8, 4) else "string"
    types = {"host": "string", "port": number, "strict": "bool"}
    for name, what in _WHAT.items():
        group.addoption(f"--esps-portal-{name}", metavar=_METAVARS[name], help=what)
        parser.addini(f"esps_portal_{name}", what, type=types[name], default=None)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check the settings, before any test runs.

    Raises:
        pytest.UsageError: a setting makes no sense.
    """
    config.addinivalue_line("markers", _MARKER)
    config.stash[_SETTINGS] = _Settings(
        host=_setting(config, "host", str) or "127.0.0.1",
        port=_setting(config, "port", _port) or 0,
        strict=_setting(config, "strict", _truth) is not False,
    )


def _setting(config: pytest.Config, name: str, parse: Callable[[str], _Value]) -> _Value | None:
    said, where = config.getoption(f"esps_portal_{name}"), f"--esps-portal-{name}"
    try:
        if said is None:
            where = f"esps_portal_{name}"
            said = config.getini(where)
        return None if said is None else parse(str(said))
    except (KeyError, TypeError, ValueError, pytest.UsageError) as error:
        raise pytest.UsageError(f"{where} is {_MEANT[name]}, not what it says: {error}") from error


def _port(said: str) -> int:
    port = int(said)
    if not 0 <= port <= 0xFFFF:  # noqa: PLR2004 - it is what sixteen bits hold
        raise ValueError(said)
    return port


def _truth(said: str) -> bool:
    return _TRUTH[said.lower()]


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
        return item.config.stash[_SETTINGS].strict
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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the portals know to the report of a test that failed."""
    report = yield
    account = item.stash.get(_ACCOUNT, None)
    if account is None:
        return report
    if call.when == "teardown":
        del item.stash[_ACCOUNT]  # the test may be run again
        texts = [] if account.told else account.texts
    else:
        account.passed = call.when == "call" and report.passed
        texts = [
            _signed(portal, portal.review().text) for portal in account.portals if report.failed
        ]
    if report.failed and texts:
        report.sections.append((_SECTION, "\n\n".join(texts)))
    return report


# ---- the fixtures ------------------------------------------------------------------------------


class _SessionPortal:
    """The portal of a test session: started for the first test that asks, replaced if it dies."""

    def __init__(self, settings: _Settings) -> None:
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
    session = _SessionPortal(pytestconfig.stash[_SETTINGS])
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
    host = request.config.stash[_SETTINGS].host
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
