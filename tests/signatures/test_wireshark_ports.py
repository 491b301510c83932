"""On which ports the dissector, run by tshark, takes what for ESPS/1."""

from __future__ import annotations

from pathlib import Path

import pytest

from esps_portal import blocking
from esps_portal.product import PRODUCT
from esps_portal.testing import proxy_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.signatures.dissection import Dissect, Line, Said, of_tcp, of_udp

pytestmark = pytest.mark.heavy

TAG = b"0123456789abcdef"
GREETING: Said = ("server", b"* ESPS/1 other/2 more\n")


@of_tcp(
    [GREETING, ("client", b"1 PING\n"), ("server", b"1 OK\n")],
    [("client", b"1 HELLO ESPS/1\n"), ("server", b"1 OK ESPS/1 x/1\n")],
    port=40_000,
)
def test_tcp_on_another_port(lines: list[Line]) -> None:
    """A greeting or a HELLO is enough."""
    kinds = [line.get("kind") for line in lines]
    assert kinds == ["notice", "request", "reply", "request", "reply"]


@of_udp(
    [("client", TAG + b" PING\n"), ("server", TAG + b" OK\n")],
    [("client", b"a HELLO ESPS/1 ##\n"), ("server", b"a OK\n")],
    port=40_000,
)
def test_udp_on_another_port(lines: list[Line]) -> None:
    """A HELLO is enough, or a request with a tag that has 64 random bits."""
    kinds = [line.get("kind") for line in lines]
    assert kinds == ["request", "reply"] * 2


@of_tcp(
    [("server", b"* OK IMAP4rev1 ready\r\n"), ("client", b"a1 LIST x y\r\n")],
    [("server", b"* ESPS/10 other/1\n")],
    [("client", b"GET / HTTP/1.1\r\n\r\n"), ("server", b"HTTP/1.1 200 OK\r\n\r\n")],
    [("client", b"PING\r\n"), ("server", b"+PONG\r\n")],
    port=40_000,
)
def test_other_connections_on_another_port(lines: list[Line]) -> None:
    assert lines == []


@of_udp(
    [("client", b"a PING\n"), ("server", b"a OK\n")],
    [("client", TAG + b" QUERY\n")],
    [("client", TAG + b" PING\n\n")],
    [("client", b"\0" + TAG)],
    port=40_000,
)
def test_other_datagrams_on_another_port(lines: list[Line]) -> None:
    assert lines == []


@of_tcp([GREETING, ("client", b"1 OK\n")], client_port=2867)
def test_both_ports_are_2867(lines: list[Line]) -> None:
    """Then the first line tells who is the server."""
    assert [line.get("kind") for line in lines] == ["notice", "request"]


def test_what_a_proxy_has_captured(
    portal: ThreadedPortal, dissect: Dissect, tmp_path: Path
) -> None:
    file = tmp_path / "portal.pcap"
    with proxy_in_thread(portal.url) as proxy, proxy.pcap(file):
        for scheme in ("esps", "esps+udp"):
            with blocking.connect(f"{scheme}://{proxy.host}:{proxy.port}") as client:
                assert client.call("echo", "two words") == (b"two words",)
    greeting, *lines = dissect(file.read_bytes())
    assert greeting.get("product") == PRODUCT
    calls = [line for line in lines if line.get("verb") == "CALL"]
    assert [call.get("service") for call in calls] == ["echo", "echo"]
    for call in calls:
        (reply,) = (line for line in lines if line.get("response_to") == str(call.frame))
        assert (reply.get("arg"), call.get("response_in")) == ("two words", str(reply.frame))
