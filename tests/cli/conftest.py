"""A portal that the tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal


@pytest.fixture(scope="module")
def portal() -> Iterator[ThreadedPortal]:
    """Return a portal with all built-in services."""
    with serve_in_thread() as running:
        yield running
