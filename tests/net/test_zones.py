"""Link-local addresses keep their zone, from the option to the client's URL."""

from __future__ import annotations

import socket

import psutil
import pytest

from esps_portal import blocking, connect
from esps_portal.net.addresses import literal, socket_address
from esps_portal.protocol.urls import PortalURL
from esps_portal.testing import open_portal, serve_in_thread


@pytest.fixture(scope="module")
def link_local() -> str:
    """Return a link-local address of this machine, with its zone."""
    for name, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family == socket.AF_INET6 and address.address.startswith("fe80"):
                return f"{address.address.partition('%')[0]}%{name}"
    pytest.skip("this machine has no link-local address of IPv6")


def test_there_and_back(link_local: str) -> None:
    address = socket_address(socket.AF_INET6, link_local, 9)
    assert address[3] > 0
    assert literal(address) == (link_local, 9)


def test_without_a_zone_an_address_stays_as_it_is() -> None:
    assert socket_address(socket.AF_INET6, "::1", 9) == ("::1", 9)
    assert literal(("::1", 9, 0, 0)) == ("::1", 9)
    assert literal(("127.0.0.1", 9)) == ("127.0.0.1", 9)


def test_an_unknown_zone() -> None:
    with pytest.raises(OSError, match=r"."):
        socket_address(socket.AF_INET6, "fe80::1%nosuchzone", 9)


def test_a_portal_there(link_local: str) -> None:
    with serve_in_thread(host=link_local) as portal:
        assert portal.host == link_local
        url = PortalURL("tcp", link_local, portal.port)
        assert portal.url == str(url)
        assert "%25" in portal.url
        for where in (portal.url, portal.udp_url):
            with blocking.connect(where) as client:
                host, *_ = client.call("whoami")
                client.call("echo", "x")  # recorded with others that come with it
            assert host.decode() == link_local
        (connection,) = portal.connections()
        remotes = [connection.remote, *(call.remote for call in portal.calls())]
        assert [host for host, _ in remotes] == [link_local] * 5


async def test_the_trio_client_there(link_local: str) -> None:
    async with open_portal(host=link_local) as portal:
        for where in (portal.url, portal.udp_url):
            async with connect(where) as client:
                assert (await client.call("whoami"))[0].decode() == link_local
        with portal.down("silent"):
            pass
        with portal.down():
            pass
        async with connect(portal.url) as client:
            await client.ping()


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("esps://[fe80::1%25eth0]:9", "fe80::1%eth0"),
        ("esps://[fe80::1%eth0]:9", "fe80::1%eth0"),  # not escaped, as people write it
        ("esps+udp://[fe80::1%2525]:9", "fe80::1%25"),
        ("esps://[fe80::1%25]:9", "fe80::1%25"),  # the zone may be a number
        ("[fe80::1%eth0]:9", "fe80::1%eth0"),
        ("[fe80::1%25]:9", "fe80::1%25"),
    ],
)
def test_in_a_url(text: str, host: str) -> None:
    url = PortalURL.parse(text)
    assert (url.host, url.port) == (host, 9)
    assert PortalURL.parse(str(url)) == url
