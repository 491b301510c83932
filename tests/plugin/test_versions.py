"""The wheel in environments of its own, with the oldest pytest that it works with to the newest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import attrs
import pytest

from tests.plugin.suite_runs import SHOP, SUITES
from tests.plugin.test_styles import STYLES

ENVIRONMENTS = "ESPS_PORTAL_ENVIRONMENTS"  # set by .ci/run: they come from the package index

needs_environments = pytest.mark.skipif(
    not os.environ.get(ENVIRONMENTS),
    reason=f"{ENVIRONMENTS} is not set: this builds environments, as .ci/run does",
)

pytestmark = needs_environments

ROOT = Path(__file__).parents[2]

# With Python 3.12 and later, and about itself.
OLD_PYTEST = "-Wignore::DeprecationWarning:_pytest.assertion.rewrite"
# What pytest-asyncio would warn of, were it not set.
LOOP_SCOPE = "-oasyncio_default_fixture_loop_scope=function"


@attrs.frozen
class Environment:
    """A pytest, and what is installed beside it."""

    requirements: tuple[str, ...]
    has_trio: bool = True
    options: tuple[str, ...] = ()


TESTED = {
    "oldest 7": Environment(
        # pluggy too: pytest 7.0 takes any from 0.12 on.
        ("pytest==7.0.0", "pluggy==0.12.0", "pytest-asyncio==0.20.3", "anyio==4.4.0"),
        has_trio=False,  # pytest-trio needs pytest 7.2
        options=(OLD_PYTEST,),
    ),
    "last 7": Environment(("pytest>=7,<8", "pytest-asyncio>=0.21,<0.24", "anyio==4.4.0")),
    "last 8": Environment(("pytest>=8,<9", "pytest-asyncio", "anyio"), options=(LOOP_SCOPE,)),
    "last 9": Environment(("pytest>=9,<10", "pytest-asyncio", "anyio"), options=(LOOP_SCOPE,)),
}


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr


def install_wheel(folder: Path, *beside: str) -> Path:
    """Install the wheel, and what stands beside it, in a new environment; return its Python."""
    wheels = folder / "wheels"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    command += ["--directory", str(wheels)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    venv.create(folder / "environment")
    python = folder / "environment/bin/python"
    pip("--python", str(python), "install", *map(str, wheels.iterdir()), *beside)
    return python


def run(python: Path, suite: Path, *arguments: str) -> str:
    """Run pytest as somebody who tolerates no warnings; return what it says."""
    command = [str(python), "-m", "pytest", "-pno:cacheprovider", "-Werror", *arguments]
    ran = subprocess.run(
        command,
        cwd=suite,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return f"{ran.stdout}{ran.stderr}exit status {ran.returncode}\n"


def without_what_varies(output: str) -> str:
    """Return what pytest says, but for the times that it took and the list of plugins."""
    return re.sub(r"in \d+\.\d+s|^plugins: .*\n", "", output, flags=re.MULTILINE)


@pytest.mark.parametrize("name", TESTED)
def test_version(name: str, tmp_path: Path) -> None:
    environment = TESTED[name]
    beside = ["pytest-trio"] if environment.has_trio else []
    python = install_wheel(tmp_path, *environment.requirements, *beside)
    strict = ["--strict-config", "--strict-markers", *environment.options]

    # A suite that does not use it sees no difference.
    unused = tmp_path / "unused"
    unused.mkdir()
    (unused / "test_one.py").write_text("def test_one(): assert True\n")
    alone = run(python, unused, *strict, "-pno:esps_portal")
    assert "1 passed" in alone
    assert without_what_varies(run(python, unused, *strict)) == without_what_varies(alone)
    for option in ("--help", "--fixtures", "--markers"):
        output = run(python, unused, *strict, option)
        assert output.endswith("exit status 0\n"), output
        assert "esps_portal" in output

    # Suites of every style pass.
    used = tmp_path / "used"
    used.mkdir()
    styles = {style: passed for style, (passed, _) in STYLES.items()}
    if not environment.has_trio:
        del styles["on_trio"]
    for style in styles:
        text = (SUITES / f"{style}.py").read_text(encoding="utf-8")
        (used / f"test_{style}.py").write_text(text, encoding="utf-8")
    (used / SHOP.name).write_text(SHOP.read_text(encoding="utf-8"), encoding="utf-8")
    output = run(python, used, *environment.options)
    assert f" {sum(styles.values()) + 2} passed" in output, output
    assert output.endswith("exit status 0\n"), output

    # And with settings of a file.
    (used / "pytest.ini").write_text("[pytest]\nesps_portal_port = 0\nesps_portal_reset = keep\n")
    suite = SUITES / "session_application.py"
    (used / f"test_{suite.name}").write_text(suite.read_text(encoding="utf-8"))
    output = run(python, used, *environment.options, f"test_{suite.name}")
    assert " 25 passed" in output, output
