"""A portal that the tests of a module share, and tshark with the dissector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.signatures.dissection import Dissect, Line, lines_of, run_tshark


@pytest.fixture(scope="module")
def portal() -> Iterator[ThreadedPortal]:
    """Return a portal with all built-in services."""
    with serve_in_thread() as running:
        yield running


@pytest.fixture
def dissect(tool: Callable[[str], str], tmp_path: Path) -> Dissect:
    """Return a function that dissects a capture, with options of tshark."""

    def dissected(capture: bytes, *options: str) -> list[Line]:
        pdml = run_tshark(tool("tshark"), tmp_path, capture, *options, "-T", "pdml")
        return list(lines_of(pdml))

    return dissected
