"""A suite whose portal dies, and then is stuck: the next test gets another one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from esps_portal import blocking
from esps_portal.testing import PortalAddress, PortalController, PortalEndedError, loop_thread

portals: list[PortalController] = []
release = threading.Event()


@pytest.fixture(scope="session", autouse=True)
def _rate(esps_portal_address: PortalAddress) -> None:
    esps_portal_address.stub("rate").reply("1.1")


@pytest.fixture(scope="session", autouse=True)
def _stuck_soon() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop_thread, "_RESPONSE_TIMEOUT", 0.2)
        yield
    release.set()


def assert_well(portal: PortalController, address: PortalAddress) -> None:
    assert portal not in portals
    portals.append(portal)
    assert (portal.host, portal.port) == (address.host, address.port)
    for url in (address.url, address.udp_url):
        with blocking.connect(url) as client:
            assert client.call("rate") == (b"1.1",)


def call_of(portal: PortalController, service: str) -> socket.socket:
    """Return a connection on which a service was called."""
    client = socket.create_connection((portal.host, portal.port), 30)
    client.sendall(f"a CALL {service}\n".encode())
    return client


def use(portal: PortalController) -> None:
    for _ in range(10_000):  # until the portal says why it cannot be
        portal.calls()


def test_that_dies(esps_portal: PortalController, esps_portal_address: PortalAddress) -> None:
    assert_well(esps_portal, esps_portal_address)

    @esps_portal.service
    def die() -> None:
        raise KeyboardInterrupt  # nothing else ends a portal

    with (
        call_of(esps_portal, "die"),
        pytest.raises(PortalEndedError, match="the portal has died: KeyboardInterrupt"),
    ):
        use(esps_portal)


def test_that_is_stuck(esps_portal: PortalController, esps_portal_address: PortalAddress) -> None:
    assert_well(esps_portal, esps_portal_address)

    @esps_portal.service
    def hang() -> None:
        release.wait(60)

    with call_of(esps_portal, "hang") as client:
        with pytest.raises(PortalEndedError) as stuck:
            use(esps_portal)
        lines = str(stuck.value).splitlines()
        assert lines[0] == "the portal is stuck: it has not answered for 0.2 s, and is in"
        assert "    release.wait(60)" in lines
        assert "_serve" not in str(stuck.value)  # frames of trio and of ours do not matter
        # Its clients do not wait indefinitely.
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: client.recv(99), b""))
    with pytest.raises(PortalEndedError, match="the portal is stuck"):
        esps_portal.stub("rate")


def test_that_is_well(esps_portal: PortalController, esps_portal_address: PortalAddress) -> None:
    assert_well(esps_portal, esps_portal_address)
    # The one that was stuck continues, and ends without harm.
    release.set()
    (thread,) = (t for t in threading.enumerate() if t.name == "esps-portal" and t is not now())
    thread.join(30)
    assert not thread.is_alive()
    portals.clear()
    assert_well(esps_portal, esps_portal_address)


def now() -> threading.Thread:
    """Return the thread of the portal that was started last."""
    return [t for t in threading.enumerate() if t.name == "esps-portal"][-1]
