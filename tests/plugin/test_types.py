"""What a type checker says of a suite that uses the wheel, strictly: nothing, or what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugin.suite_runs import SUITES
from tests.plugin.test_versions import install_wheel, needs_environments

pytestmark = needs_environments

# Each line is wrong by itself.
WRONG = """\
import esps_portal
from esps_portal import blocking, testing
from esps_portal.testing import PortalAddress, PortalFactory, PortalController
from esps_portal.testing import ProxyController, ProxyFactory

def test(portal: PortalController, address: PortalAddress, start: PortalFactory) -> None:
    portal.stub("price", 5)  # wrong
    portal.stub("price").replay("9.99")  # wrong
    portal.stub("price").times("2")  # wrong
    portal.fault("latncy", seconds=1)  # wrong
    portal.fault("latency", second=1)  # wrong
    portal.wait_for("price", counts=2)  # wrong
    portal.prot  # wrong
    start(hots="::1")  # wrong
    start(port="80")  # wrong
    address.calls()  # wrong
    esps_portal.conect()  # wrong

def test_proxy(proxy: ProxyController, start: ProxyFactory) -> None:
    proxy.stub("price")  # wrong
    proxy.fault("rest")  # wrong
    proxy.exchanges(5)  # wrong
    proxy.wait_for("price", counts=2)  # wrong
    start()  # wrong
    start("tcp://127.0.0.1:6379", hots="::1")  # wrong
    start("tcp://127.0.0.1:6379", unreachable="no")  # wrong
    testing.proxy_in_threads()  # wrong

def test_clients(portal: PortalController) -> None:
    testing.serve_in_threads()  # wrong
    with blocking.connect(portal.url) as client:
        client.call("echo", 1)  # wrong
        list(client.stream("drip", "3", "10"))  # wrong
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_wheel(tmp_path_factory.mktemp("types"), "pytest")


def mypy(python: Path, suite: Path) -> list[str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python)]
    return lines(command, suite, ": error: ")


def pyright(python: Path, suite: Path) -> list[str]:
    return lines(["pyright", "--pythonpath", str(python)], suite, " - error: ")


def lines(command: list[str], suite: Path, mark: str) -> list[str]:
    """Return the errors of a type checker, each as it says it."""
    ran = subprocess.run(
        [*command, suite.name],
        cwd=suite.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    errors = [line for line in ran.stdout.splitlines() if mark in line]
    assert ran.returncode == bool(errors), ran.stdout + ran.stderr
    return errors


CHECKERS = {"mypy": mypy, "pyright": pyright}


@pytest.mark.parametrize("checker", CHECKERS)
def test_suites(checker: str, python: Path, tmp_path: Path, tool: Callable[[str], str]) -> None:
    if checker == "pyright":
        tool("pyright")
    right, wrong = tmp_path / "test_right.py", tmp_path / "test_wrong.py"
    right.write_text((SUITES / "typed.py").read_text(encoding="utf-8"), encoding="utf-8")
    wrong.write_text(WRONG, encoding="utf-8")
    assert CHECKERS[checker](python, right) == []
    marked = [number for number, line in enumerate(WRONG.splitlines(), 1) if "# wrong" in line]
    errors = CHECKERS[checker](python, wrong)
    assert sorted({int(re.findall(r":(\d+)", line)[0]) for line in errors}) == marked, errors
