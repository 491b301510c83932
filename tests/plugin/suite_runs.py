"""Running a test suite as a user would, in a process of its own or in this one."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import pytest

import esps_portal

# After each run in this process, pytester forgets the modules that were imported in it. A module of
# ours that is imported twice has two `ANY`; and what cryptography has in Rust knows the classes of
# its first import only.
importlib.import_module("cryptography.x509")
for module in pkgutil.walk_packages(esps_portal.__path__, "esps_portal."):
    importlib.import_module(module.name)

SUITES = Path(__file__).parent / "suites"
SHOP = Path(__file__).parents[1] / "examples/python/test_shop.py"

#: The other plugins that are installed here, by their names in pytest.
OTHERS = (
    "anyio",
    "asyncio",
    "hypothesispytest",
    "pytest_cov",
    "randomly",
    "trio",
    "xdist",
    "xdist.looponfail",
)


def place(pytester: pytest.Pytester, *suites: Path) -> None:
    """Copy suites to where pytest finds them."""
    for suite in suites:
        name = f"test_{suite.stem.removeprefix('test_')}"
        pytester.makepyfile(**{name: suite.read_text(encoding="utf-8")})


def run(
    pytester: pytest.Pytester, *arguments: str, needs: tuple[str, ...] = ()
) -> pytest.RunResult:
    """Run pytest with our plugin and those in ``needs``; warnings are errors."""
    return pytester.runpytest_subprocess(*_options(needs), *arguments, timeout=60)


def run_here(
    pytester: pytest.Pytester, *arguments: str, needs: tuple[str, ...] = ()
) -> pytest.RunResult:
    """Do the same in this process: faster, for a test that does not depend on imports."""
    return pytester.runpytest_inprocess(*_options(needs), "-pno:faulthandler", *arguments)


def _options(needs: tuple[str, ...]) -> list[str]:
    without = (name for name in (*OTHERS, "cacheprovider") if name not in needs)
    return ["-Werror", *(f"-pno:{name}" for name in without)]
