"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]  # the pytest plugin is tested on suites of its own

REQUIRE_TOOLS = "ESPS_PORTAL_REQUIRE_TOOLS"  # set by .ci/run


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
