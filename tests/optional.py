"""Packages that only some tests need: clients of other protocols, validators of files."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest

from tests.conftest import REQUIRE_TOOLS


def package(name: str, extra: str = "clients") -> Any:  # noqa: ANN401 - a module, typed or not
    """Return a module of an extra; without it the module that asks is skipped.

    Where `REQUIRE_TOOLS` is set that is an error, so that continuous integration skips none.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if os.environ.get(REQUIRE_TOOLS):
            raise
        pytest.skip(f"{name} is not installed: pip install '.[{extra}]'", allow_module_level=True)
