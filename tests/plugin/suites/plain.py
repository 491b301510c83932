"""A suite of plain functions."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from esps_portal import Limits, blocking
from esps_portal.testing import ANY, PortalController, PortalEndedError, PortalFactory


def ask(portal: PortalController, request: str) -> str:
    """Send a datagram; return the one that comes back."""
    family = socket.AF_INET6 if ":" in portal.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.settimeout(30)
        peer.connect((portal.host, portal.port))
        peer.send(f"{request}\n".encode())
        return peer.recv(9999).decode()


@pytest.fixture
def client(esps_portal: PortalController) -> Iterator[blocking.BlockingClient]:
    with blocking.connect(esps_portal.url) as connected:
        yield connected


def test_a_stub_over_tcp(esps_portal: PortalController, client: blocking.BlockingClient) -> None:
    esps_portal.stub("price", ANY).reply("9.99")
    assert client.call("price", "sku-1") == (b"9.99",)
    assert [call.args for call in esps_portal.calls("price")] == [(b"sku-1",)]


@pytest.mark.parametrize("number", range(10))
def test_a_stub_over_udp(esps_portal: PortalController, number: int) -> None:
    # Each has a portal that knows nothing of the tests before: connections, calls, counts.
    assert esps_portal.journal() == []
    esps_portal.stub("price", "sku-1").reply(str(number))
    assert ask(esps_portal, "a CALL price sku-1") == f"a OK {number}\n"
    assert ask(esps_portal, "b CALL count") == "b OK 1\n"
    assert len(esps_portal.calls()) == 2


def test_a_wait(esps_portal: PortalController) -> None:
    later = threading.Timer(0.01, ask, (esps_portal, "a CALL echo hi"))
    later.start()
    assert [call.args for call in esps_portal.wait_for("echo", timeout=30)] == [(b"hi",)]
    later.join()


def test_several(esps_portal: PortalController, esps_portal_factory: PortalFactory) -> None:
    small = esps_portal_factory(limits=Limits(max_line=512), udp=False)
    six = esps_portal_factory(host="::1", tcp=False)
    assert len({esps_portal.port, small.port, six.port}) == 3
    six.stub("where").reply("six")
    assert ask(six, "a CALL where") == "a OK six\n"
    with blocking.connect(small.url) as connected:
        assert connected.call("echo", "hi") == (b"hi",)
    assert esps_portal.journal() == []


left_over: list[PortalController] = []


def test_one_that_ends_with_its_test(esps_portal_factory: PortalFactory) -> None:
    before = set(threading.enumerate())
    left_over.append(esps_portal_factory())
    assert len(set(threading.enumerate()) - before) == 1


@pytest.fixture(scope="module", autouse=True)
def _none_is_left_over() -> Iterator[None]:
    yield
    for portal in left_over:
        with pytest.raises(PortalEndedError):
            portal.calls()


@pytest.mark.esps_portal(strict=False)
def test_a_lenient_one(esps_portal: PortalController) -> None:
    esps_portal.stub("never").reply()
    assert "unknown-service" in ask(esps_portal, "a CALL nothing")


def test_what_is_not_needed(esps_portal: PortalController) -> None:
    esps_portal.stub("never").reply().optional()
