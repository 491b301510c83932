"""A peer that is not a portal: the start of what it sent is shown, with a hint."""

from __future__ import annotations

import http.server
import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from esps_portal.cli.session import raise_timed_out
from esps_portal.protocol.errors import TimedOutError
from esps_portal.protocol.retransmission import Retransmission
from esps_portal.protocol.urls import PortalURL
from tests.cli.peers import GREETING, tcp_server, udp_echo_server
from tests.commands import run
from tests.patience import PATIENCE

COMMANDS = pytest.mark.parametrize(
    "command", [["call", "echo"], ["list"], ["ping", "-c", "1"], ["connect"]]
)


SILENT = "; it sent nothing, and may expect TLS"


def hint(url: str) -> str:
    host, _, port = url.rpartition("://")[2].rpartition(":")
    return f"; to see what it is: esps-portal inspect --host {host} --port {port}\n"


@COMMANDS
@pytest.mark.parametrize(
    ("sent", "quoted"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2\\r\\n"),
        (b"220 mail.example.org ESMTP\r\n", "220 mail.example.org ESMTP\\r\\n"),
        (b"\x15\x03\x01\x00\x02\x02F", "\\x15\\x03\\x01\\x00\\x02\\x02F"),  # an alert, no LF
        (b"J\0\0\0\n8.0.36\0\x1b[2J", "J\\x00\\x00\\x00\\n8.0.36\\x00\\x1b[2J"),
        (b"* OK IMAP4rev1 ready\r\n", "* OK IMAP4rev1 ready\\r\\n"),
        (b"x" * 5000, "x" * 60 + "..."),
    ],
    ids=["ssh", "smtp", "tls", "binary", "imap", "long"],
)
def test_what_it_sent_is_quoted(command: list[str], sent: bytes, quoted: str) -> None:
    with tcp_server(sent) as url:
        code, _, err = run(*command, "--url", url)
    kind = "expects TLS: use esps+tls://" if sent[:2] == b"\x15\x03" else "does not speak ESPS/1"
    message = f'the peer {kind}; it sent "{quoted}"'
    assert (code, err) == (1, f"esps-portal: {message}{hint(url)}")


class Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """An HTTP server, which waits for its client to speak first."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield "esps://{}:{}".format(*server.socket.getsockname())
        server.shutdown()
        thread.join()


@COMMANDS
def test_a_server_that_waits_for_its_client(
    command: list[str], web: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esps_portal.client.tcp.HELLO_DELAY", 0.01)
    code, _, err = run(*command, "--url", web)
    assert code == 1
    assert err.startswith('esps-portal: the peer does not speak ESPS/1; it sent "<!DOCTYPE HTML>')
    assert err.endswith(hint(web))


@COMMANDS
def test_a_server_that_closes_without_sending(command: list[str]) -> None:
    with tcp_server("") as url:
        code, _, err = run(*command, "--url", url)
    message = "esps-portal: the peer ended the connection without a greeting"
    assert (code, err) == (1, message + SILENT + hint(url))


@COMMANDS
def test_a_server_that_resets_without_sending(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A TLS server does so when it gets the HELLO: it has read only part of it."""
    monkeypatch.setattr("esps_portal.client.tcp.HELLO_DELAY", 0.01)

    def serve() -> None:
        with server.accept()[0] as stream:
            stream.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        url = "esps://{}:{}".format(*server.getsockname())
        code, _, err = run(*command, "--url", url)
        thread.join()
    message = "esps-portal: the portal reset: Connection reset by peer"
    assert (code, err) == (1, message + SILENT + hint(url))


def test_a_portal_that_closes_has_no_hint() -> None:
    with tcp_server(GREETING) as url:
        code, _, err = run("call", "echo", "--url", url)
    assert (code, err) == (1, "esps-portal: the portal ended the connection\n")


def test_a_name_that_no_request_has_room_for() -> None:
    with tcp_server(GREETING, "OK " + "n" * 8185) as url:
        code, out, err = run("list", "--url", url)
    message = "the portal lists a service whose name no request has room for"
    quoted = f'; it sent "{"n" * 60}..."'
    assert (code, out, err) == (1, "", f"esps-portal: {message}{quoted}{hint(url)}")


@COMMANDS
def test_a_reply_that_is_cut_off_is_quoted(command: list[str]) -> None:
    with tcp_server(f"{GREETING}c1 OK hel\x1b[2J") as url:
        code, _, err = run(*command, "--url", url)
    message = 'the portal ended the connection within a line: "c1 OK hel\\x1b[2J"'
    assert (code, err) == (1, f"esps-portal: {message}\n")


@COMMANDS
def test_a_reply_that_stops_is_quoted(command: list[str]) -> None:
    ended = threading.Event()

    def serve() -> None:
        with server.accept()[0] as stream:
            stream.sendall(f"{GREETING}c1 OK hel\x1b[2J".encode())
            ended.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        where = "{}:{}".format(*server.getsockname())
        code, _, err = run(*command[:1], "-W", "0.5", "--url", where, *command[1:])
        ended.set()
        thread.join()
    message = 'no reply in 0.5 s; received part of a line: "c1 OK hel\\x1b[2J"'
    assert (code, err) == (1, f"esps-portal: {message}\n")


@COMMANDS
def test_a_udp_server(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Retransmission(ack_timeout=0.02, max_retransmit=2)
    monkeypatch.setattr(Retransmission, "for_host", lambda _: quick)
    with udp_echo_server() as url:
        code, _, err = run(*command, "--url", url)
    assert code == 1
    assert err.startswith("esps-portal: no reply to 3 datagrams; received what is not ESPS/1: ")
    assert err.endswith(f'\\n"{hint(url)}')


async def test_what_came_before_the_timeout_is_quoted() -> None:
    class OtherServer:
        rejected = b"\0dns"
        unfinished = b""

    url = PortalURL("tcp", "h")
    with pytest.raises(TimedOutError) as caught:
        raise_timed_out(OtherServer(), url, 0.5)  # type: ignore[arg-type]  # all that it reads
    assert str(caught.value) == 'no reply in 0.5 s; received what is not ESPS/1: "\\x00dns"'
