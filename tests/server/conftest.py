"""Fixtures for the tests of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from esps_portal.testing import PortalController, serve_in_thread
from tests.sockets import assert_all_struck


@pytest.fixture
def portal() -> Iterator[PortalController]:
    """Return a portal whose faults must all have struck when the test ends."""
    with serve_in_thread() as portal:
        yield portal
        assert_all_struck(portal)
