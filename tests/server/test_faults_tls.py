"""Faults on connections over TLS: they change the plain text, and end TLS as they end TCP."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Literal, TypeAlias

import pytest

from esps_portal.faults.fault_types import CERTIFICATE_PROBLEMS
from esps_portal.faults.parameters import FaultError
from esps_portal.journal.values import ScenarioError
from esps_portal.testing import PortalController, serve_in_thread
from tests.certificates import Certificates
from tests.sockets import Client, assert_all_struck, closed, connected, timed, until
from tests.tls_clients import assert_reset, greeted_by, tls_connected

CertificateProblem: TypeAlias = Literal["expired", "wrong-name", "self-signed"]


@pytest.fixture
def portal() -> Iterator[PortalController]:
    with serve_in_thread(tls=True) as portal:
        yield portal
        assert_all_struck(portal)


@pytest.fixture
def client(portal: PortalController) -> Iterator[Client]:
    with greeted_by(portal) as client:
        yield client


def test_reset(portal: PortalController, client: Client) -> None:
    portal.fault("reset", service="echo", offset=4)
    client.send(b"a CALL echo hi\n")
    assert client.receive() == b"a OK"
    assert_reset(client)


def test_close(portal: PortalController, client: Client) -> None:
    portal.fault("close", service="echo", when="before")
    client.send(b"a CALL echo hi\n")
    assert client.rest() == b""


def test_truncate(portal: PortalController, client: Client) -> None:
    portal.fault("truncate", bytes=6)
    client.send(b"a CALL echo hi\n")
    assert client.rest() == b"a OK h", "with close_notify: the plain text is cut, not TLS"


def test_half_close(portal: PortalController, client: Client) -> None:
    portal.fault("half-close")
    client.send(b"a CALL echo hi\n")
    assert client.rest() == b""
    client.send(b"b CALL echo hi\n")
    assert_no_call(portal, "b")


def test_garbage(portal: PortalController, client: Client) -> None:
    portal.fault("garbage", bytes=40, seed=1)
    client.send(b"a CALL echo hi\n")
    assert len(client.rest()) == 40


def test_corrupt(portal: PortalController, client: Client) -> None:
    portal.fault("corrupt", at=0, bytes=1)
    answer = client.call(b"a CALL echo hi")
    assert (len(answer), answer[1:]) == (8, b" OK hi\n")
    assert answer[:1] != b"a"


def test_slice_makes_a_record_of_each_piece(portal: PortalController, client: Client) -> None:
    portal.fault("slice", every=3, pause=0.01)
    client.send(b"a CALL echo hi\n")
    assert [client.receive() for _ in range(3)] == [b"a O", b"K h", b"i\n"]


def test_latency(portal: PortalController, client: Client) -> None:
    portal.fault("latency", seconds=0.1)
    with timed() as elapsed:
        assert client.call(b"a CALL echo hi") == b"a OK hi\n"
    assert elapsed.seconds >= 0.1


def test_stall(portal: PortalController, client: Client) -> None:
    portal.fault("stall", service="echo", offset=2)
    client.send(b"a CALL echo hi\n")
    assert client.receive() == b"a "
    client.assert_silence()


def test_deaf(portal: PortalController, client: Client) -> None:
    portal.fault("deaf", service="echo")
    assert client.call(b"a CALL echo hi") == b"a OK hi\n"
    client.send(b"b CALL echo hi\n")
    client.assert_silence()


# Python before 3.11.4 has the second for a FIN.
_NO_HANDSHAKE = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionResetError)


def test_accept_close_comes_before_any_handshake(portal: PortalController) -> None:
    portal.fault("accept-close", connection=1)
    with pytest.raises(_NO_HANDSHAKE), greeted_by(portal):
        pass
    with greeted_by(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"


# ---- certificates ------------------------------------------------------------------------------

#: What Python's client says of each.
REASONS = {
    "expired": "certificate has expired",
    "wrong-name": "IP address mismatch, certificate is not valid for '127.0.0.1'",
    "self-signed": "self-signed certificate",
}


@pytest.mark.parametrize("problem", CERTIFICATE_PROBLEMS)
def test_a_certificate_with_a_problem(
    portal: PortalController, problem: CertificateProblem
) -> None:
    fault = portal.fault("certificate", problem=problem, connection=2)
    for number in (1, 2, 3):
        if number == 2:
            with pytest.raises(ssl.SSLCertVerificationError) as caught, greeted_by(portal):
                pass
            assert REASONS[problem] in str(caught.value)
            assert fault.happened == 1, "before the client has the certificate"
        else:
            with greeted_by(portal) as client:
                assert client.call(b"a PING") == b"a OK\n"
    _, struck, _ = closed(portal)
    assert struck.fault == f"certificate problem={problem} connection=2"


def test_whoever_verifies_nothing_goes_on(portal: PortalController) -> None:
    portal.fault("certificate", problem="self-signed", times=1)
    careless = ssl.create_default_context()
    careless.check_hostname, careless.verify_mode = False, ssl.CERT_NONE
    with tls_connected(portal, careless) as client:
        assert client.call(b"a PING") == b"a OK\n"
    with greeted_by(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"


def test_it_strikes_when_a_handshake_begins(portal: PortalController) -> None:
    fault = portal.fault("certificate", problem="expired", times=1)
    with connected(portal, greeted=False) as silent:
        until(portal.connections, portal)
        silent.send(b"a PING\n")
        assert silent.line().startswith(b"* ERR bad-line")
    assert fault.happened == 0
    assert any("no TLS handshake began" in problem for problem in portal.problems())
    with pytest.raises(ssl.SSLCertVerificationError), greeted_by(portal):
        pass
    assert fault.happened == 1


def test_by_chance(portal: PortalController) -> None:
    portal.fault("certificate", problem="expired", chance=0.5, seed=4)
    outcomes = []
    for _ in range(8):
        try:
            with greeted_by(portal):
                outcomes.append(True)
        except ssl.SSLCertVerificationError:
            outcomes.append(False)
    assert set(outcomes) == {True, False}


def test_a_portal_without_certificates_of_its_own(certificates: Certificates) -> None:
    for tls in (False, certificates.portal.context()):
        with serve_in_thread(tls=tls) as portal:
            needs = "needs TLS with certificates of the portal's own: tls=True"
            with pytest.raises(FaultError, match=needs):
                portal.fault("certificate", problem="expired")
            with pytest.raises(ScenarioError, match=rf"faults\[0\].*{needs}"):
                portal.load('[[faults]]\nfault = "certificate"\nproblem = "expired"\n')


def test_in_a_scenario(portal: PortalController) -> None:
    portal.load('[[faults]]\nfault = "certificate"\nproblem = "wrong-name"\n')
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"), greeted_by(portal):
        pass
    assert 'problem = "wrong-name"' in portal.dump()


def assert_no_call(portal: PortalController, tag: str) -> None:
    assert [call for call in portal.calls() if call.tag == tag] == []
