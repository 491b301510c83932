"""dnspython through a proxy, in front of a server by dnslib, over UDP and TCP on one number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from esps_portal.testing import ProxyController, ProxyFactory
from tests.optional import package
from tests.patience import PATIENCE

dns_exception = package("dns.exception")
dns_message = package("dns.message")
dns_query = package("dns.query")
dnslib_server = package("dnslib.server")
dnslib_zones = package("dnslib.zoneresolver")

_ZONE = "example.org. 60 IN A 192.0.2.1\nexample.org. 60 IN AAAA 2001:db8::1\n"
# Seconds; a lost datagram is waited for, so it is short where one is to be lost.
_SOON = 0.3  # seconds


def served_on_one_number() -> list[Any]:
    """Return a server of UDP and one of TCP on the same free number."""
    resolver = dnslib_zones.ZoneResolver(_ZONE)
    logger = dnslib_server.DNSLogger("", logf=lambda _: None)
    for _ in range(100):
        udp = dnslib_server.DNSServer(resolver, address="127.0.0.1", port=0, logger=logger)
        port = udp.server.server_address[1]
        try:
            tcp = dnslib_server.DNSServer(
                resolver, address="127.0.0.1", port=port, tcp=True, logger=logger
            )
        except OSError:  # somebody has that number over TCP
            udp.server.server_close()
            continue
        return [udp, tcp]
    pytest.fail("no number is free for UDP and TCP")


@pytest.fixture(scope="module")
def dns_port() -> Iterator[int]:
    servers = served_on_one_number()
    for server in servers:
        server.start_thread()
    yield servers[0].server.server_address[1]
    for server in servers:
        server.stop()
        server.server.server_close()


@pytest.fixture
def proxy(esps_proxy: ProxyFactory, dns_port: int) -> ProxyController:
    return esps_proxy(f"tcp+udp://127.0.0.1:{dns_port}")


def asked(proxy: ProxyController, kind: str = "A", timeout: float = PATIENCE) -> str:
    query = dns_message.make_query("example.org.", kind)
    reply = dns_query.udp(query, proxy.host, timeout, proxy.port)
    return str(reply.answer[0][0])


def test_without_faults(proxy: ProxyController) -> None:
    assert asked(proxy) == "192.0.2.1"
    assert asked(proxy, "AAAA") == "2001:db8::1"
    assert len(proxy.exchanges(b"example")) == 2


@pytest.mark.parametrize("options", [{}, {"when": "before"}, {"to": "server"}])
def test_a_lost_datagram(proxy: ProxyController, options: dict[str, str]) -> None:
    fault = proxy.fault("drop", match=b"example", times=1, **options)  # type: ignore[call-overload]
    with pytest.raises(dns_exception.Timeout):
        asked(proxy, timeout=_SOON)
    fault.wait_for(timeout=PATIENCE)
    assert asked(proxy) == "192.0.2.1"
    assert fault.happened == 1


def test_two_of_the_same_are_taken_once(proxy: ProxyController) -> None:
    proxy.fault("duplicate", copies=3, times=1)
    assert [asked(proxy), asked(proxy, "AAAA")] == ["192.0.2.1", "2001:db8::1"]


def test_a_reply_from_elsewhere_is_not_believed(proxy: ProxyController) -> None:
    proxy.fault("wrong-source", times=1)
    query = dns_message.make_query("example.org.", "A")
    with pytest.raises(Exception, match=r"from|timed out"):  # its own class for each version
        dns_query.udp(query, proxy.host, _SOON, proxy.port)


def test_a_cut_reply_is_no_reply(proxy: ProxyController) -> None:
    proxy.fault("truncate", bytes=20, transport="udp", times=1)
    with pytest.raises(Exception, match=r"malformed|timed out"):
        asked(proxy, timeout=_SOON)


def test_it_asks_again_over_tcp_after_tc(proxy: ProxyController) -> None:
    """The bit TC of the flags (RFC 1035, section 4.1.1) is set in the reply over UDP."""
    fault = proxy.fault("patch", at=2, hex="87", transport="udp")
    query = dns_message.make_query("example.org.", "A")
    reply, was_tcp = dns_query.udp_with_fallback(query, proxy.host, PATIENCE, proxy.port)
    assert was_tcp
    assert str(reply.answer[0][0]) == "192.0.2.1"
    assert fault.happened == 1
    assert [found.transport for found in proxy.exchanges(b"example")] == ["udp", "tcp"]


def test_the_one_and_not_the_other_reply_of_two(proxy: ProxyController) -> None:
    """Only the bytes of a reply tell those apart whose requests came together."""
    fault = proxy.fault("drop", reply_match=b"\x20\x01\x0d\xb8", times=1)
    assert asked(proxy) == "192.0.2.1"
    with pytest.raises(Exception, match="timed out"):
        asked(proxy, "AAAA", timeout=_SOON)
    fault.wait_for(timeout=PATIENCE)
    assert fault.happened == 1
