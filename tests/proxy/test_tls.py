"""TLS and proxies: passed untouched, or ended on either side so that faults see plain text."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest

from esps_portal import blocking
from esps_portal.faults.parameters import FaultError
from esps_portal.net.tls_contexts import TLSFileError, client_context
from esps_portal.proxy.upstream import Upstream
from esps_portal.testing import PortalController, ProxyController, proxy_in_thread, serve_in_thread
from tests.certificates import Certificates
from tests.sockets import Client, closed, connected, until
from tests.tls_clients import assert_reset, tls_connected, trusting


@pytest.fixture(scope="module")
def shared() -> Iterator[PortalController]:
    with serve_in_thread(tls=True) as portal:
        yield portal


@pytest.fixture
def portal(shared: PortalController) -> PortalController:
    shared.reset()
    return shared


@pytest.fixture
def proxy(portal: PortalController) -> Iterator[ProxyController]:
    """Return a proxy that ends TLS on both sides."""
    upstream = f"tls://127.0.0.1:{portal.port}"
    with proxy_in_thread(upstream, tls=True, upstream_ca=portal.tls_ca) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: ProxyController) -> Iterator[Client]:
    with tls_connected(proxy, trusting(proxy.tls_ca)) as client:
        yield client


# ---- which side speaks TLS ---------------------------------------------------------------------


def test_untouched(portal: PortalController) -> None:
    with (
        proxy_in_thread(f"tcp://127.0.0.1:{portal.port}") as proxy,
        tls_connected(proxy, trusting(portal.tls_ca)) as client,
    ):
        assert client.call(b"a CALL echo hi") == b"a OK hi\n"
        assert proxy.tls_ca is None
        assert all(b"echo" not in exchange.request for exchange in proxy.exchanges())


def test_ended_on_both_sides(proxy: ProxyController, client: Client) -> None:
    assert client.call(b"a CALL echo hi") == b"a OK hi\n"
    greeting, exchange = proxy.exchanges()
    assert greeting.reply.startswith(b"* ESPS/1 ")
    assert (exchange.request, exchange.reply) == (b"a CALL echo hi\n", b"a OK hi\n")


def test_towards_the_client_only() -> None:
    with (
        serve_in_thread() as plain,
        proxy_in_thread(f"tcp://127.0.0.1:{plain.port}", tls=True) as proxy,
        tls_connected(proxy, trusting(proxy.tls_ca)) as client,
    ):
        assert client.call(b"a PING") == b"a OK\n"


def test_towards_the_upstream_only(portal: PortalController) -> None:
    upstream, trusted = f"tls://127.0.0.1:{portal.port}", client_context(portal.tls_ca)
    with proxy_in_thread(upstream, upstream_ca=trusted) as proxy, connected(proxy) as client:
        assert client.call(b"a PING") == b"a OK\n"


def test_before_a_portal_calls_are_seen(portal: PortalController) -> None:
    with proxy_in_thread(portal.url, tls=True, upstream_ca=portal.tls_ca) as proxy:
        url = f"esps+tls://127.0.0.1:{proxy.port}"
        with blocking.connect(url, cafile=proxy.tls_ca) as client:
            assert client.call("echo", "hi") == (b"hi",)
        (call,) = proxy.calls("echo")
        assert call.args == (b"hi",)


def test_much_passes_whole_in_both_directions(client: Client) -> None:
    lines = b"".join(b"%d CALL echo %b\n" % (number, b"x" * 900) for number in range(3000))
    client.socket.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    expected = lines.replace(b"CALL echo", b"OK")
    sent, answers = 0, bytearray()
    while len(answers) < len(expected):
        for step in ("send", "receive"):
            try:
                if step == "send" and sent < len(lines):
                    sent += client.socket.send(lines[sent : sent + 100_000])
                elif step == "receive":
                    answers += client.socket.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
    assert bytes(answers) == expected


# ---- faults ------------------------------------------------------------------------------------


def test_match_sees_plain_text(proxy: ProxyController, client: Client) -> None:
    fault = proxy.fault("reset", match=b"echo hi", offset=4)
    assert client.call(b"a CALL echo ho") == b"a OK ho\n"
    client.send(b"b CALL echo hi\n")
    assert client.receive() == b"b OK"
    assert_reset(client)
    assert fault.happened == 1


def test_close_has_close_notify(proxy: ProxyController, client: Client) -> None:
    proxy.fault("close", match=b"echo")
    client.send(b"a CALL echo hi\n")
    assert client.rest() == b""


def test_truncate_and_latency(proxy: ProxyController, client: Client) -> None:
    with proxy.fault("latency", seconds=0.05) as late:
        assert client.call(b"a CALL echo hi") == b"a OK hi\n"
        assert late.happened == 1
    proxy.fault("truncate", bytes=3)
    client.send(b"b CALL echo hi\n")
    assert client.rest() == b"b O"


def test_a_fault_towards_the_server(
    portal: PortalController, proxy: ProxyController, client: Client
) -> None:
    proxy.fault("patch", to="server", at=0, hex=b"b".hex())
    assert client.call(b"a CALL echo hi") == b"b OK hi\n"
    assert [call.args for call in portal.calls("echo")] == [(b"hi",)]


@pytest.mark.parametrize("problem", ["expired", "wrong-name", "self-signed"])
def test_a_certificate_with_a_problem(proxy: ProxyController, problem: str) -> None:
    fault = proxy.fault("certificate", problem=problem, connection=1)  # type: ignore[call-overload]  # a name of several
    context = trusting(proxy.tls_ca)
    with pytest.raises(ssl.SSLCertVerificationError), tls_connected(proxy, context):
        pass
    assert fault.happened == 1
    with tls_connected(proxy, context) as client:
        assert client.call(b"a PING") == b"a OK\n"
    struck, _ = closed(proxy)
    assert struck.fault == f"certificate problem={problem} connection=1"


def test_a_certificate_fault_without_such_certificates(portal: PortalController) -> None:
    with (
        proxy_in_thread(f"tcp://127.0.0.1:{portal.port}") as untouched,
        pytest.raises(FaultError, match="needs TLS with certificates of the proxy's own: tls=True"),
    ):
        untouched.fault("certificate", problem="expired")


# ---- ends --------------------------------------------------------------------------------------


def test_close_notify_passes(
    portal: PortalController, proxy: ProxyController, client: Client
) -> None:
    assert client.call(b"a PING") == b"a OK\n"
    assert isinstance(client.socket, ssl.SSLSocket)
    client.socket.unwrap()
    for side in (proxy, portal):
        (connection,) = closed(side)
        assert (connection.closed_by, connection.how) == ("client", "fin")


def test_an_end_without_close_notify_passes_as_a_reset(
    portal: PortalController, proxy: ProxyController, client: Client
) -> None:
    assert client.call(b"a PING") == b"a OK\n"
    socket.socket.shutdown(client.socket, socket.SHUT_WR)
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        client.rest()
    for side in (proxy, portal):
        (connection,) = closed(side)
        assert (connection.closed_by, connection.how) == ("client", "rst")


def test_plain_text_where_tls_should_begin(
    portal: PortalController, proxy: ProxyController, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with connected(proxy, greeted=False) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.rest() == b""
    until(lambda: caplog.messages, proxy)
    assert caplog.messages[0].endswith("failed: it does not speak TLS")
    assert portal.connections() == []


# ---- the upstream is verified ------------------------------------------------------------------


def refused_by(proxy: ProxyController) -> None:
    """Connect, and see a RST, which may come before connecting has returned."""
    with (
        contextlib.suppress(ConnectionResetError),
        connected(proxy, greeted=False) as client,
    ):
        client.assert_reset()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("expired", "its certificate has expired"),
        ("wrong_name", "its certificate is for another name"),
        ("untrusted", "its certificate is signed by a CA that is not trusted here"),
    ],
)
def test_an_upstream_that_is_not_trusted(
    certificates: Certificates, name: str, reason: str
) -> None:
    context = getattr(certificates, name).context()
    with (
        serve_in_thread(tls=context) as portal,
        proxy_in_thread(f"tls://127.0.0.1:{portal.port}", upstream_ca=certificates.ca) as proxy,
    ):
        refused_by(proxy)
        (connection,) = closed(proxy)
        assert connection.unreachable == reason
        assert any(reason in problem for problem in proxy.problems())


def test_an_upstream_that_speaks_no_tls() -> None:
    with (
        serve_in_thread() as portal,
        proxy_in_thread(f"tls://127.0.0.1:{portal.port}") as proxy,
    ):
        refused_by(proxy)
        (connection,) = closed(proxy)
        assert connection.unreachable == "it does not speak TLS"


# ---- options -----------------------------------------------------------------------------------


def test_upstreams_with_tls() -> None:
    assert Upstream.parse("tls://h:1").transports == {"tcp"}
    assert str(Upstream.parse("esps+tls://h")) == "esps+tls://h:2867"
    with pytest.raises(ValueError, match="the port is missing"):
        Upstream.parse("tls://h")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match="nothing to trust of tcp://h:1: only tls://"):
        proxy_in_thread("tcp://h:1", upstream_ca=ssl.create_default_context()).__enter__()
    with pytest.raises(ValueError, match="TLS needs TCP, which is not relayed"):
        proxy_in_thread("udp://h:1", tls=True).__enter__()
    with pytest.raises(TLSFileError, match="cannot read the certificate /nowhere"):
        proxy_in_thread("tls://h:1", upstream_ca="/nowhere").__enter__()
    with pytest.raises(TypeError, match="upstream_ca must be the path of a PEM file, or an ssl"):
        proxy_in_thread("tls://h:1", upstream_ca=1).__enter__()  # type: ignore[arg-type]
