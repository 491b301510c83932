"""Outages that overlap, and one that outlives a reset."""

from __future__ import annotations

import socket

import pytest

from esps_portal.testing import PortalController, VerificationError, lines, peer_in_thread
from tests.sockets import connected


def test_an_outage_within_an_outage(portal: PortalController) -> None:
    with portal.down() as outer:
        with portal.down():
            pass
        with pytest.raises(ConnectionRefusedError), connected(portal):
            pass
        assert repr(outer) == "<refuse outage, in force>"
    with connected(portal):
        pass
    outer.up()
    assert repr(outer) == "<refuse outage, over>"


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


def assert_times_out(portal: PortalController) -> None:
    with pytest.raises(TimeoutError):
        socket.create_connection((portal.host, portal.port), 0.05)


def test_the_latest_outage_says_how(portal: PortalController) -> None:
    with portal.down(how="silent") as silent:
        with portal.down(), pytest.raises(ConnectionRefusedError), connected(portal):
            pass
        assert_times_out(portal)
        refusing = portal.down()
        later = portal.down(how="silent")
        assert_times_out(portal)
        refusing.up()
        assert_times_out(portal)
        assert repr(silent) == "<silent outage, in force>"
        assert repr(portal).endswith("; down: silent>")
        later.up()
        assert_times_out(portal)
    assert repr(silent) == "<silent outage, over>"
    with connected(portal):
        pass


def test_a_report_says_that_an_outage_is_in_force() -> None:
    with peer_in_thread(lines()) as peer:
        peer.stub("PING")
        outage = peer.down()
        with pytest.raises(ConnectionRefusedError), connected(peer):
            pass
        with pytest.raises(VerificationError, match=r"\ndown\(how='refuse'\) is still in force$"):
            peer.verify()
        outage.up()
        with pytest.raises(VerificationError, match=r"has happened\)$"):
            peer.verify()


@pytest.mark.parametrize("how", ["quiet", None, ["silent"]])
def test_an_unknown_outage(portal: PortalController, how: object) -> None:
    with pytest.raises(ValueError, match=r"^how must be 'refuse' or 'silent', got ") as caught:
        portal.down(how=how)  # type: ignore[arg-type]
    assert str(caught.value).endswith(repr(how))
    with connected(portal):
        pass


@pytest.mark.parametrize("end", ["up", "block"])
def test_the_block_of_one_that_is_over(portal: PortalController, end: str) -> None:
    """The test in it would pass while the portal is up."""
    outage = portal.down()
    if end == "block":
        with outage:
            pass
    else:
        outage.up()
    with pytest.raises(RuntimeError, match=r"this refuse outage is over: call down\(\) again"):
        outage.__enter__()


@pytest.mark.parametrize("end", ["heal", "reset"])
def test_the_block_of_one_that_another_thread_has_ended(portal: PortalController, end: str) -> None:
    """It may do so just before the block or at once in it: nobody can tell."""
    outage = portal.down()
    getattr(portal, end)()
    with outage, connected(portal):
        assert outage.is_over
