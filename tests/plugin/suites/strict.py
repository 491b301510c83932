"""A suite in which almost every test fails, each for a reason of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from esps_portal.testing import PortalController, PortalFactory


def ask(portal: PortalController, request: str) -> str:
    with socket.create_connection((portal.host, portal.port), 30) as peer:
        peer.sendall(f"{request}\nq QUIT\n".encode())
        return b"".join(iter(lambda: peer.recv(9999), b"")).decode()


# ---- at teardown, for how the portal was used --------------------------------------------------


def test_unmatched(esps_portal: PortalController) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99").optional()
    assert "unmatched" in ask(esps_portal, "a CALL price sku-2")


def test_unknown(esps_portal: PortalController) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99").optional()
    assert "unknown-service" in ask(esps_portal, "a CALL pirce sku-1")


def test_without_a_name(esps_portal: PortalController) -> None:
    assert "bad-arguments" in ask(esps_portal, 'a CALL ""')


def test_unused(esps_portal: PortalController) -> None:
    esps_portal.stub("flaky").fail("busy").reply("done")
    assert "busy" in ask(esps_portal, "a CALL flaky")


def test_of_the_factory(esps_portal: PortalController, esps_portal_factory: PortalFactory) -> None:
    for portal in (esps_portal_factory(), esps_portal_factory(strict=False)):
        portal.stub("never").reply()
    esps_portal_factory().stub("nor-this").reply()


def test_a_fault_of_a_mistyped_service(esps_portal: PortalController) -> None:
    esps_portal.fault("reset", service="nosuchservice")
    assert "a OK hi" in ask(esps_portal, "a CALL echo hi")


def test_a_mistyped_fault_around_raises(esps_portal: PortalController) -> None:
    with (
        esps_portal.fault("close", service="ehco"),
        pytest.raises(ConnectionRefusedError),
        esps_portal.down(),
    ):
        ask(esps_portal, "a CALL echo hi")


def test_faults_that_need_not_strike(esps_portal: PortalController) -> None:
    esps_portal.fault("reset", service="nosuchservice").optional()
    esps_portal.fault("reset", service="nosuchservice", chance=1)
    with esps_portal.fault("close", times=3):
        assert "a OK" not in ask(esps_portal, "a CALL echo hi")


@pytest.mark.esps_portal(strict=False)
def test_a_fault_of_a_lenient_test(esps_portal: PortalController) -> None:
    esps_portal.fault("reset", service="nosuchservice")


def test_a_call_just_before_the_end(esps_portal: PortalController) -> None:
    with socket.create_connection((esps_portal.host, esps_portal.port), 30) as peer:
        peer.sendall(b"a CALL late\n")


def test_a_service_of_its_own_that_fails(esps_portal: PortalController) -> None:
    @esps_portal.service
    def price(sku: bytes) -> str:
        assert sku == b"sku-1"
        return "9.99"

    assert "failed" in ask(esps_portal, "a CALL price sku-2")


# ---- before that -------------------------------------------------------------------------------


def test_that_fails(esps_portal: PortalController) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99")
    with esps_portal.fault("reset", service="echo", chance=0.5, seed=20_11):
        assert "nothing" in ask(esps_portal, "a CALL price sku-2")


@pytest.fixture
def broken(esps_portal: PortalController) -> None:
    esps_portal.stub("never").reply()
    ask(esps_portal, "a CALL echo setup")
    raise LookupError("setup")


@pytest.mark.usefixtures("broken")
def test_whose_setup_fails() -> None:
    """It is not reached."""


@pytest.fixture
def breaking(esps_portal: PortalController) -> Iterator[None]:
    yield
    ask(esps_portal, "a CALL echo teardown")
    raise LookupError("teardown")


@pytest.mark.usefixtures("breaking")
def test_whose_teardown_fails() -> None:
    """It is well itself."""


@pytest.mark.xfail(strict=True)
def test_that_is_expected_to_fail(esps_portal: PortalController) -> None:
    esps_portal.stub("never").reply()
    raise AssertionError


def test_that_is_skipped(esps_portal: PortalController) -> None:
    esps_portal.stub("never").reply()
    pytest.skip("half-way")


# ---- because the portal dies -------------------------------------------------------------------


def kill(portal: PortalController) -> None:
    @portal.service
    def die() -> None:
        raise KeyboardInterrupt  # nothing else ends a portal

    with contextlib.suppress(OSError):
        ask(portal, "a CALL die")


def test_whose_portal_dies(esps_portal: PortalController) -> None:
    kill(esps_portal)
    for _ in range(10_000):  # until the portal says so
        esps_portal.calls()


@pytest.mark.esps_portal(strict=False)
def test_whose_portal_dies_unnoticed(esps_portal: PortalController) -> None:
    kill(esps_portal)


def test_whose_own_portal_dies(esps_portal_factory: PortalFactory) -> None:
    kill(esps_portal_factory(strict=False))


@pytest.mark.parametrize("number", range(2))
def test_that_is_well(esps_portal: PortalController, number: int) -> None:
    esps_portal.stub("price", "sku-1").reply("9.99")
    assert "a OK 9.99" in ask(esps_portal, "a CALL price sku-1")


# ---- because of a wrong marker -----------------------------------------------------------------


@pytest.mark.esps_portal(strickt=False)
def test_of_a_marker_with_an_unknown_keyword(esps_portal: PortalController) -> None:
    """It is not reached."""


@pytest.mark.esps_portal("no")
def test_of_a_marker_with_an_argument(esps_portal_factory: PortalFactory) -> None:
    """It is not reached."""
