"""A TLS handshake that fails: the journal, the transcript and the access log say why."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator

import pytest

from esps_portal.cli.access_log import access_line
from esps_portal.journal.journal_json import connection_to_values, entry_to_values
from esps_portal.testing import lines, peer_in_thread, proxy_in_thread, serve_in_thread
from esps_portal.testing.threaded_peer import ThreadedPeer
from esps_portal.testing.threaded_portal import ThreadedPortal
from esps_portal.testing.threaded_proxy import ThreadedProxy
from tests.patience import PATIENCE
from tests.sockets import closed

Served = ThreadedPortal | ThreadedPeer | ThreadedProxy


@pytest.fixture(params=["portal", "peer", "proxy"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with contextlib.ExitStack() as stack:
        if request.param == "portal":
            yield stack.enter_context(serve_in_thread(tls=True))
        elif request.param == "peer":
            yield stack.enter_context(peer_in_thread(lines(), tls=True))
        else:
            nobody = "tcp://127.0.0.1:9"  # a client that fails is not passed on
            yield stack.enter_context(proxy_in_thread(nobody, tls=True))


def speak_plainly(client: socket.socket) -> None:
    client.sendall(b"PING\r\n")
    while client.recv(100):
        pass


def go_at_once(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def reset_at_once(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def distrust(client: socket.socket) -> None:
    context = ssl.create_default_context()  # trusts the system's authorities, not the test's
    with pytest.raises(ssl.SSLCertVerificationError):
        context.wrap_socket(client, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    ("act", "why", "by", "how"),
    [
        (speak_plainly, "it does not speak TLS", "", "fin"),
        (go_at_once, "it ended the connection during the TLS handshake", "client", "fin"),
        (reset_at_once, "it reset the connection", "client", "rst"),
        (distrust, "it refused with the TLS alert 'unknown ca'", "client", "fin"),
    ],
)
def test_it_says_why(
    served: Served, act: Callable[[socket.socket], None], why: str, by: str, how: str
) -> None:
    with socket.create_connection((served.host, served.port), PATIENCE) as client:
        # Of one that is reset before it is accepted there is nothing to say.
        served.wait_for_connections(timeout=PATIENCE)
        act(client)
    (found,) = closed(served)
    who = by or repr(served).removeprefix("<").split()[0].lower()
    assert (found.failed_handshake, found.closed_by, found.how) == (why, who, how)
    assert connection_to_values(found)["failed_handshake"] == why
    entry = next(entry for entry in served.journal() if entry.event == "closed")
    assert entry_to_values(entry)["failed_handshake"] == why
    assert f"the TLS handshake failed: {why}" in served.transcript()
    assert f"the TLS handshake failed: {why}" in access_line(entry, 80)


def test_one_that_is_done_says_nothing(served: Served) -> None:
    assert served.tls_ca is not None
    context = ssl.create_default_context(cafile=served.tls_ca)
    with (
        socket.create_connection((served.host, served.port), PATIENCE) as client,
        context.wrap_socket(client, server_hostname="127.0.0.1"),
    ):
        pass
    (found,) = closed(served)
    assert found.failed_handshake == ""
    entry = next(entry for entry in served.journal() if entry.event == "closed")
    assert "failed_handshake" not in entry_to_values(entry)
    assert "handshake" not in served.transcript()
