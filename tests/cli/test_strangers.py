"""Of a peer that is no portal, the beginning of what it said is shown, and where to look next."""

from __future__ import annotations

import http.server
import socketserver
import threading
from collections.abc import Iterator

import pytest

from esps_portal.cli.session import too_late
from esps_portal.protocol.retransmission import Retransmission
from tests.cli.peers import GREETING, echoing, invoke, saying

COMMANDS = pytest.mark.parametrize("command", [["call", "echo"], ["list"], ["ping", "-c", "1"]])


def where(url: str) -> str:
    host, _, port = url.rpartition("://")[2].rpartition(":")
    return f"; see what it is: esps-portal inspect --host {host} --port {port}\n"


@COMMANDS
@pytest.mark.parametrize(
    ("said", "quoted"),
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
def test_what_it_said_is_quoted(command: list[str], said: bytes, quoted: str) -> None:
    with saying(said) as url:
        code, _, err = invoke(*command, "--url", url)
    message = f'the peer does not speak ESPS/1; it sent "{quoted}"'
    assert (code, err) == (1, f"esps-portal: {message}{where(url)}")


class Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    """A server that waits for its client: Python's own, of HTTP."""
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
    monkeypatch.setattr("esps_portal.client.tcp.GREETING_DUE", 0.01)
    code, _, err = invoke(*command, "--url", web)
    assert code == 1
    assert err.startswith('esps-portal: the peer does not speak ESPS/1; it sent "<!DOCTYPE HTML>')
    assert err.endswith(where(web))


@COMMANDS
def test_one_that_closes_without_a_word(command: list[str]) -> None:
    with saying("") as url:
        code, _, err = invoke(*command, "--url", url)
    message = "esps-portal: the peer ended the connection without a greeting"
    assert (code, err) == (1, message + where(url))


def test_one_that_breaks_off_later_was_a_portal() -> None:
    with saying(GREETING) as url:
        code, _, err = invoke("call", "echo", "--url", url)
    assert (code, err) == (1, "esps-portal: the portal ended the connection\n")


@COMMANDS
def test_one_over_udp(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    quick = Retransmission(ack_timeout=0.02, max_retransmit=2)
    monkeypatch.setattr(Retransmission, "for_host", lambda _: quick)
    with echoing() as url:
        code, _, err = invoke(*command, "--url", url)
    assert code == 1
    assert err.startswith("esps-portal: no answer to 3 datagrams; received what is not ESPS/1: ")
    assert err.endswith(f'\\n"{where(url)}')


def test_what_came_before_the_time_was_over_is_quoted() -> None:
    class Stranger:
        rejected = b"\0dns"

    error = too_late(Stranger(), "h", 0.5)  # type: ignore[arg-type]  # all that it asks for
    assert str(error) == 'no answer in 0.5 s; received what is not ESPS/1: "\\x00dns"'
