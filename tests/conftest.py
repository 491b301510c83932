"""Fixtures for all tests, and the environment of the processes that they start."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import marshal
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

from esps_portal.log import rate_limit
from tests.clocks import PortalClock

if TYPE_CHECKING:
    from tests.certificates import Certificates

pytest_plugins = ["pytester"]  # the pytest plugin is tested on suites of its own

# The same examples in every run, and no limit of time: a busy machine must not fail a test. .ci/run
# takes `--hypothesis-profile=thorough`.
settings.register_profile(
    "quick",
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=100)
settings.load_profile("quick")

_PACKED = "packed"  # the key of a packed report

REQUIRE_TOOLS = "ESPS_PORTAL_REQUIRE_TOOLS"  # set by .ci/run


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes that the tests start the same environment everywhere."""
    # The background jobs of a script ignore Ctrl-C, and so would the processes they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # So do they with SIGHUP under nohup. A handler of ours is not inherited, and ends nothing.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)
    _keep_bytecode(config)


@pytest.fixture(autouse=True)
def _unlimited_log() -> None:
    """Let each test log as if it were the first: the log leaves out what comes too often."""
    rate_limit.forget()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep the collector of garbage from what lives as long as the run: the tests and the modules.

    To look through it again and again would cost a second in each worker.
    """
    gc.disable()
    try:
        _import_share(session.config)
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let each worker of xdist have its share of the files, and take from others when it is done.

    By default they get tests one by one, and each starts what the tests of a file share. `addopts`
    cannot say it: without ``-n``, ``--dist`` is an error.
    """
    if config.getoption("numprocesses", 0) and config.getoption("dist") == "no":
        config.option.dist = "worksteal"


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Let ``-n auto`` start two workers for each core.

    For half of its time a worker waits: for a process, a time limit, or a retry of the kernel's.
    """
    workers = yield
    return workers if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else 2 * workers


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, object]:
    """Let a worker of xdist send what it has to report as one piece.

    A test has three reports, each with some sixty keys and values, which execnet writes one by one,
    in Python: a tenth of a worker's time for a small test, and more where the results are printed.
    """
    report = yield
    return None if report is None else {_PACKED: marshal.dumps(report)}


@pytest.hookimpl(tryfirst=True)
def pytest_report_from_serializable(data: dict[str, Any]) -> None:
    """Unpack it, for the hook that makes a report of it."""
    if _PACKED in data:
        data.update(marshal.loads(data.pop(_PACKED)))  # noqa: S302 - from a process of this run


def _import_share(config: pytest.Config) -> None:
    """Let each worker of xdist begin with other files, whose asserts it rewrites and compiles.

    After that it finds those of the others compiled. Else, in a fresh clone, each worker does all.
    """
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    if not worker or config.args != config.getini("testpaths"):
        return
    files = sorted(config.rootpath.glob("tests/*/test_*.py"))
    for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        # What is wrong with it is told when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(f"tests.{file.parent.name}.{file.stem}")


def _keep_bytecode(config: pytest.Config) -> None:
    """Compile what the tests use once, and not in each of the processes that they start.

    If Python must not write bytecode beside the sources (as in many containers), it writes to
    pytest's cache, and the next run finds it there; without that cache, to a temporary folder. The
    workers of xdist inherit that.
    """
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        return
    if config.pluginmanager.has_plugin("cacheprovider"):
        folder = config.cache.mkdir("bytecode")
    else:
        folder = Path(tempfile.mkdtemp(prefix="esps-portal-bytecode-"))
        config.add_cleanup(functools.partial(shutil.rmtree, folder))
    _take_installed_bytecode(folder)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    # Files of one run, such as suites that a test writes, never come back.
    of_this_run = folder / tempfile.gettempdir().lstrip("/")
    config.add_cleanup(functools.partial(shutil.rmtree, of_this_run, ignore_errors=True))


def _take_installed_bytecode(folder: Path) -> None:
    """Link what was compiled when packages were installed, where Python then looks for it.

    Else each process would compile them again, on the first run.
    """
    for cache in Path(sysconfig.get_path("purelib")).rglob("__pycache__"):
        place = folder / str(cache.parent).lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for file in cache.glob(f"*.{sys.implementation.cache_tag}.pyc"):
            with contextlib.suppress(FileExistsError):
                (place / file.name).symlink_to(file)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PortalClock:
    """Return the clock of the portals that the test starts in threads after this fixture."""
    clock = PortalClock()
    clock.use(monkeypatch)
    return clock


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return certificates, keys and CAs, in files."""
    from tests.certificates import make_certificates  # noqa: PLC0415 - few tests wait for it

    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Return a function that finds a program of this machine by name.

    A test that needs one calls ``tool("lsof")``. Without the program the test is skipped; if
    `REQUIRE_TOOLS` is set it fails, so that continuous integration skips none unnoticed.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is not None:
            return path
        if os.environ.get(REQUIRE_TOOLS):
            pytest.fail(f"{name} is not on this machine, and {REQUIRE_TOOLS} is set")
        pytest.skip(f"{name} is not on this machine")

    return find
