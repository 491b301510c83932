"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable

import pytest

from tests.clocks import PortalClock

pytest_plugins = ["pytester"]  # the pytest plugin is tested on suites of its own

REQUIRE_TOOLS = "ESPS_PORTAL_REQUIRE_TOOLS"  # set by .ci/run


def pytest_configure(config: pytest.Config) -> None:
    """Make the processes that the tests start alike, wherever the tests are started."""
    # A script's background jobs ignore Ctrl-C, and so would all that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # So do they with SIGHUP under nohup. A handler of ours is not inherited, and ends nothing.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    _keep_bytecode(config)


def _keep_bytecode(config: pytest.Config) -> None:
    """Compile what the tests start once, and not for each of 200 processes.

    Where Python is not to write bytecode beside the sources (in containers, often) it is written
    elsewhere, for as long as the tests run. The workers of xdist inherit it.
    """
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        return
    folder = tempfile.TemporaryDirectory(prefix="esps-portal-bytecode-")
    config.add_cleanup(folder.cleanup)
    os.environ["PYTHONPYCACHEPREFIX"] = folder.name


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PortalClock:
    """Return the clock of the portals that the test starts in threads; ask for it before them."""
    clock = PortalClock()
    clock.use(monkeypatch)
    return clock


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Return what finds a program of this machine by name.

    A test that needs one says ``lsof = tool("lsof")``. Where there is none the test is skipped;
    where `REQUIRE_TOOLS` is set it fails, so that continuous integration loses none unnoticed.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        if os.environ.get(REQUIRE_TOOLS):
            pytest.fail(f"{name} is not on this machine, and {REQUIRE_TOOLS} is set")
        pytest.skip(f"{name} is not on this machine")

    return find
