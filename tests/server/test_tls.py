"""TLS at a portal, as Python's own client sees it."""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

import pytest

from esps_portal import Limits, blocking
from esps_portal.testing import PortalController, serve_in_thread
from tests.certificates import Certificates
from tests.patience import PATIENCE
from tests.sockets import Client, closed, connected, until
from tests.tls_clients import assert_reset, greeted_by, tls_connected, trusting

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def shared() -> Iterator[PortalController]:
    with serve_in_thread(tls=True) as portal:
        yield portal


@pytest.fixture
def portal(shared: PortalController) -> PortalController:
    shared.reset()
    return shared


def tls_of(client: Client) -> ssl.SSLSocket:
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket


# ---- the handshake -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_calls_are_answered(portal: PortalController, version: ssl.TLSVersion) -> None:
    context = trusting(portal.tls_ca, version=version)
    with tls_connected(portal, context) as client:
        assert client.call(b"a CALL echo hi") == b"a OK hi\n"
        client.send(b"".join(b"%d PING x\n" % number for number in range(5000)))
        assert client.lines(5000)[-1] == b"4999 OK x\n"
        client.send(b"b CALL chargen 300 72\n")
        assert client.lines(301)[-1].startswith(b"b OK")
        client.send(b"c CALL delay 5 late\nd PING\n")
        assert client.lines(2) == [b"d OK\n", b"c OK late\n"]


def test_older_versions_are_refused(portal: PortalController) -> None:
    context = trusting(portal.tls_ca)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises(ssl.SSLError),
        tls_connected(portal, context),
    ):
        pass


def test_the_protocol_is_negotiated_by_name(portal: PortalController) -> None:
    """ESPS-TLS-4."""
    context = trusting(portal.tls_ca)
    with tls_connected(portal, context) as client:
        assert tls_of(client).selected_alpn_protocol() is None
    context.set_alpn_protocols(["http/1.1", "esps/1"])
    with tls_connected(portal, context) as client:
        assert tls_of(client).selected_alpn_protocol() == "esps/1"


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_who_offers_other_protocols_only_is_refused(
    portal: PortalController, version: ssl.TLSVersion
) -> None:
    """As a browser does, which can be made to connect to any port (ESPS-TLS-10)."""
    context = trusting(portal.tls_ca, version=version)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"),
        tls_connected(portal, context),
    ):
        pass


@pytest.mark.parametrize("protocol", ["http/1.1", "esps/1"])
@pytest.mark.parametrize("piece", [1, 5, 100])
def test_the_first_message_may_come_in_pieces(
    portal: PortalController, protocol: str, piece: int
) -> None:
    context = trusting(portal.tls_ca)
    context.set_alpn_protocols([protocol])
    sent, received = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(received, sent, server_hostname=portal.host)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    message = sent.read()
    with socket.create_connection((portal.host, portal.port), timeout=PATIENCE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(message), piece):
            sock.sendall(message[start : start + piece])
        answer = sock.recv(7)
        if protocol == "esps/1":
            assert answer[0] == 22  # ServerHello
        else:
            assert answer == bytes((21, 3, 3, 0, 2, 2, 120))
            assert sock.recv(1) == b""  # FIN: what had come was read, so that no RST overtakes it


def test_plain_text_is_told_so(portal: PortalController, caplog: pytest.LogCaptureFixture) -> None:
    """A listener is plain or TLS, never both (ESPS-TLS-1, ESPS-TLS-7)."""
    caplog.set_level(logging.INFO)
    with connected(portal, greeted=False) as client:
        client.send(b"a CALL echo hi\nb CALL count\n")
        assert client.rest() == b"* ERR bad-line this%20listener%20expects%20TLS\n"
    until(lambda: caplog.messages, portal)
    (line,) = caplog.messages
    assert line.startswith("TLS handshake with 127.0.0.1 port ")
    assert line.endswith(" failed: it does not speak TLS")
    assert caplog.records[0].levelname == "WARNING"  # a report of pytest shows it
    assert portal.calls() == []


def test_tls_to_a_plain_portal() -> None:
    with serve_in_thread() as plain, connected(plain, greeted=False) as client:
        assert client.line().startswith(b"* ESPS/1")
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(client.socket, server_hostname="127.0.0.1")


def test_a_handshake_that_stalls_is_ended_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    """ESPS-TLS-8."""
    limits = Limits(stall=0.2, linger=0.1, max_connections=1)
    with serve_in_thread(tls=True, limits=limits) as portal:
        with connected(portal, greeted=False) as stalled:
            port = stalled.socket.getsockname()[1]
            until(portal.connections, portal)
            context = trusting(portal.tls_ca)
            with tls_connected(portal, context, greeted=False) as refused:
                assert refused.rest() == b"* BYE busy\n"
            assert stalled.rest() == b""
        closed(portal)
        # The portal of another test may log late.
        (message,) = [each for each in caplog.messages if f" port {port} " in each]
        assert message.endswith(f" port {port} failed: it was not done after 0.2 s")
        with greeted_by(portal) as client:
            assert client.call(b"a PING") == b"a OK\n"


def test_a_client_that_goes_during_the_handshake_is_logged_in_a_line(
    portal: PortalController, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with connected(portal, greeted=False):
        until(portal.connections, portal)
    until(lambda: caplog.messages, portal)
    assert caplog.messages[0].endswith("failed: it ended the connection during the TLS handshake")
    assert caplog.records[0].levelname == "INFO"  # as of any check of whether the port is open


def test_client_certificates(certificates: Certificates) -> None:
    required = certificates.portal.context(client_ca=certificates.ca)
    with serve_in_thread(tls=required) as portal:
        context = trusting(certificates.ca)
        with (
            pytest.raises(ssl.SSLError, match="certificate required"),
            tls_connected(portal, context),
        ):
            pass
        context.load_cert_chain(certificates.untrusted.cert, certificates.untrusted.key)
        with (
            pytest.raises(ssl.SSLError, match="unknown ca"),
            tls_connected(portal, context),
        ):
            pass
        context.load_cert_chain(certificates.client.cert, certificates.client.key)
        with tls_connected(portal, context) as client:
            assert client.call(b"a PING") == b"a OK\n"


def test_a_client_that_reads_late_gets_all_of_it(portal: PortalController) -> None:
    """What found no room is sent again from the same byte."""
    with greeted_by(portal) as client:
        lines = 10_000
        client.send(b"a CALL chargen %d 500\nb CALL echo last\n" % lines)
        until(portal.calls, portal)
        time.sleep(0.3)  # the buffers of both sides are full, unless the machine is busy
        data = client.lines(lines + 2)
    rows = [line for line in data if line.startswith(b"a DATA ")]
    assert len(rows) == lines
    assert {len(unquote_to_bytes(row[len(b"a DATA ") : -1])) for row in rows} == {500}
    assert set(data) - set(rows) == {b"a OK\n", b"b OK last\n"}


# ---- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_close_notify_ends_running_calls_at_once(
    portal: PortalController, version: ssl.TLSVersion
) -> None:
    """ESPS-TLS-2."""
    context = trusting(portal.tls_ca, version=version)
    with tls_connected(portal, context) as client:
        client.send(b"a CALL echo x\nb CALL delay 60000\n")
        assert client.line() == b"a OK x\n"
        until(lambda: len(portal.calls()) == 2, portal)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls_of(client).unwrap()
        assert client.socket.recv(1) == b"", "its close_notify, then FIN"
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "fin")
    assert portal.calls("delay")[0].state == "aborted"


def test_close_notify_of_an_idle_client(portal: PortalController) -> None:
    with greeted_by(portal) as client:
        assert client.call(b"a PING") == b"a OK\n"
        tls_of(client).unwrap()
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "fin")


def test_fin_without_close_notify_is_as_a_reset(portal: PortalController) -> None:
    """ESPS-TLS-5."""
    with greeted_by(portal) as client:
        client.send(b"a CALL delay 60000\n")
        until(portal.calls, portal)
        socket.socket.shutdown(client.socket, socket.SHUT_WR)
        (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "rst")
    assert portal.calls("delay")[0].state == "aborted"


def test_every_end_of_the_portal_has_close_notify(portal: PortalController) -> None:
    """ESPS-TLS-6: ``rest`` fails on a FIN without it."""
    for last in (b"q QUIT\n", b"x" * 70_000, b"a CALL close\n"):
        with greeted_by(portal) as client:
            client.send(last + b"b PING\n" * 100)
            assert b"b OK" not in client.rest()


def test_a_shutdown_says_bye() -> None:
    with serve_in_thread(tls=True) as portal, greeted_by(portal) as client:
        portal.stop()
        assert client.rest() == b"* BYE closing\n"


def test_a_shutdown_waits_for_no_handshake() -> None:
    with serve_in_thread(tls=True) as portal, connected(portal, greeted=False) as begun:
        begun.send(b"\x16")
        until(portal.connections, portal)
        portal.stop()
        with contextlib.suppress(ConnectionResetError):
            assert begun.rest() == b""


def test_a_reset_has_no_close_notify(portal: PortalController) -> None:
    with greeted_by(portal) as client:
        client.send(b"a CALL reset\n")
        assert_reset(client)


def test_udp_is_not_served_unless_it_is_asked_for(portal: PortalController) -> None:
    assert portal.url.startswith("esps+tls://")
    with pytest.raises(RuntimeError, match="not served over UDP"):
        _ = portal.udp_url
    with (
        serve_in_thread(tls=True, udp=True) as both,
        blocking.connect(both.udp_url) as client,
    ):
        assert client.call("echo", "x") == (b"x",)


# ---- resets, outages, forks --------------------------------------------------------------------


def test_a_reset_of_the_portal_resets_connections(portal: PortalController) -> None:
    with greeted_by(portal) as client, connected(portal, greeted=False) as begun:
        until(lambda: len(portal.connections()) == 2, portal)
        portal.reset()
        assert_reset(client)
        begun.assert_reset()


def test_down(portal: PortalController) -> None:
    with greeted_by(portal) as client, portal.down():
        assert_reset(client)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((portal.host, portal.port), PATIENCE)
    with greeted_by(portal) as client:
        with portal.down(how="silent"):
            client.send(b"a PING\n")
            client.assert_silence()
        assert client.line() == b"a OK\n"
