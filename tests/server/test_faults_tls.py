"""Faults on connections over TLS: they change the plain text, and end TLS as they end TCP."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from esps_portal.testing import PortalController, serve_in_thread
from tests.sockets import Client, assert_all_struck, timed
from tests.tls_clients import assert_reset, greeted_by


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


def test_accept_close_comes_before_any_handshake(portal: PortalController) -> None:
    portal.fault("accept-close", connection=1)
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)), greeted_by(portal):
        pass
    with greeted_by(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"


def assert_no_call(portal: PortalController, tag: str) -> None:
    assert [call for call in portal.calls() if call.tag == tag] == []
