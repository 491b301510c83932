"""A portal in a thread, for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal


@pytest.fixture(name="portal")
def _portal() -> Iterator[ThreadedPortal]:
    with serve_in_thread() as portal:
        yield portal
