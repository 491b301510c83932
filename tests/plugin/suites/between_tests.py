"""A suite that uses the fixture's portal between two of its tests."""

from __future__ import annotations

import pytest

from esps_portal.testing import PortalController, PortalEndedError

kept: list[PortalController] = []


def test_first(esps_portal: PortalController) -> None:
    kept.append(esps_portal)


def test_without_it() -> None:
    (portal,) = kept
    for use in (
        lambda: portal.stub("late").reply("x"),
        lambda: portal.fault("reset", when="before"),
        portal.down,
        portal.reset,
        portal.calls,
    ):
        with pytest.raises(PortalEndedError, match="the portal was used between two tests"):
            use()


def test_last(esps_portal: PortalController) -> None:
    assert esps_portal is kept[0]
    assert "stubs" not in esps_portal.dump()


def test_a_factory_says_what_it_takes(esps_portal_factory: object) -> None:
    assert callable(esps_portal_factory)
    options = r"unknown option hots; the options are .*, udp, tls, strict$"
    with pytest.raises(TypeError, match=options):
        esps_portal_factory(hots="::1")
    with pytest.raises(TypeError, match="strict must be True or False, got 'no'"):
        esps_portal_factory(strict="no")
