"""Outages that overlap, and one that outlives a reset."""

from __future__ import annotations

import pytest

from esps_portal.testing import (
    PortalController,
)
from tests.sockets import connected


def test_an_outage_within_an_outage(portal: PortalController) -> None:
    with portal.down() as outer:
        with portal.down():
            pass
        with pytest.raises(ConnectionRefusedError), connected(portal):
            pass
        assert repr(outer) == "<outage, in force>"
    with connected(portal):
        pass
    outer.up()
    assert repr(outer) == "<outage, over>"


def test_outages_that_overlap(portal: PortalController) -> None:
    first, second = portal.down(), portal.down()
    first.up()
    first.up()  # a second time it is nobody's end
    with pytest.raises(ConnectionRefusedError), connected(portal):
        pass
    second.up()
    with connected(portal):
        pass


def test_an_outage_ends_with_a_reset(portal: PortalController) -> None:
    old = portal.down()
    portal.reset()
    with portal.down():
        old.up()
        with pytest.raises(ConnectionRefusedError), connected(portal):
            pass
