"""URLs of portals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.urls import PortalURL
from tests.protocol.strategies import LOWER, quickly

hosts = st.ip_addresses().map(str) | st.lists(
    st.text(LOWER, min_size=1, max_size=9), min_size=1, max_size=3
).map(".".join)
urls = st.builds(PortalURL, st.sampled_from(["tcp", "tls", "udp"]), hosts, st.integers(1, 65535))


@quickly
@given(urls)
def test_a_url_comes_back(url: PortalURL) -> None:
    assert PortalURL.parse(str(url)) == url


@pytest.mark.parametrize(
    ("text", "transport", "host", "port"),
    [
        ("esps://h", "tcp", "h", 2867),  # ESPS-URL-1
        ("esps+tls://h", "tls", "h", 2867),
        ("esps+udp://h/", "udp", "h", 2867),
        ("esps://127.0.0.1:9", "tcp", "127.0.0.1", 9),
        ("esps://[::1]", "tcp", "::1", 2867),
        ("esps+udp://[::1]:65535", "udp", "::1", 65535),
        ("ESPS://Example.ORG", "tcp", "example.org", 2867),
    ],
)
def test_what_a_url_says(text: str, transport: str, host: str, port: int) -> None:
    assert PortalURL.parse(text) == PortalURL(transport, host, port)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 2867),
        ("Example.ORG", "example.org", 2867),
        ("localhost:9", "localhost", 9),
        ("127.0.0.1", "127.0.0.1", 2867),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("h/", "h", 2867),
        ("esps", "esps", 2867),
        ("esps:9", "esps", 9),
        ("[::1]", "::1", 2867),
        ("[::1]:9", "::1", 9),
        ("::1", "::1", 2867),
        ("FE80::1%eth0", "fe80::1%eth0", 2867),
        ("::1:abcd", "::1:abcd", 2867),  # no port is abcd
        ("fe80::1:0", "fe80::1:0", 2867),  # or 0
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", 2867),
    ],
)
def test_a_target_without_a_scheme_means_tcp(text: str, host: str, port: int) -> None:
    assert PortalURL.parse(text) == PortalURL("tcp", host, port)


@quickly
@given(hosts, st.integers(1, 65535))
def test_a_target_is_what_its_url_says(host: str, port: int) -> None:
    url = PortalURL("tcp", host, port)
    assert PortalURL.parse(str(url).removeprefix("esps://")) == url


@pytest.mark.parametrize(
    ("text", "reason", "instead"),
    [
        ("", "host is missing", "localhost:PORT"),
        (":9", "host is missing", "localhost:9"),
        ("2867", "a port without a host", "localhost:2867"),
        ("9" * 5000, "a port without a host", "localhost:PORT"),
        ("h:", "port after the colon is missing", "h or h:PORT"),
        ("[::1]:", "port after the colon is missing", "[::1] or [::1]:PORT"),
        ("h:99999", "from 1 to 65535", "h:PORT"),
        ("h:http", "from 1 to 65535", "h:PORT"),
        ("[::1", "bracket is not closed", "[IPV6] or [IPV6]:PORT"),
        ("[::1]9", "only ':PORT' may follow ']'", "[::1] or [::1]:PORT"),
        ("::1:9", "last part may be a port", "[::1]:9, or [::1:9] where it has no port"),
        ("::1:99999", "in brackets", "[::1]:PORT"),
        ("1:2:3:4:5:6:7:8:9", "in brackets", "[1:2:3:4:5:6:7:8]:9"),
        ("a:b:c", "in brackets", "[IPV6]:PORT"),
        ("esps:h", "'://' follows a scheme", "esps://h"),
        ("http://h", "no scheme 'http'", "esps://h (TCP) or esps+udp://h (UDP)"),
        ("tcp://h:9", "no scheme 'tcp'", "esps://h:9 (TCP) or esps+udp://h:9 (UDP)"),
        ("https://", "no scheme 'https'", "esps://HOST (TCP) or esps+udp://HOST (UDP)"),
        ("esps://::1", "in brackets", "esps://[::1]"),
        ("esps://::1:9", "in brackets", "[::1]:9"),
    ],
)
def test_a_near_miss_is_told_what_to_write(text: str, reason: str, instead: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' is not the address of a portal: ") as told:
        PortalURL.parse(text)
    assert reason in str(told.value)
    assert str(told.value).endswith(f"; write {instead}")
    assert len(str(told.value)) < 250


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("//h", "no path"),
        ("u@h", "no user"),
        ("h?q", "no query"),
        ("esps://", "host is missing"),
        ("esps://:2867", "host is missing"),
        ("esps:///path", "no path"),
        ("esps://h:0", "from 1 to 65535"),
        ("esps://h:65536", "from 1 to 65535"),
        ("esps://h:" + "9" * 5000, "from 1 to 65535"),
        ("esps://h:port", "from 1 to 65535"),
        ("esps://h:-1", "from 1 to 65535"),
        ("esps://h:\u0663", "from 1 to 65535"),
        ("esps://[h]", "'h' is not an IPv6 address"),
        ("esps://]", "neither a name nor an address"),
        ("esps://a..b", "neither a name nor an address"),
        ("esps://" + "a" * 70, "neither a name nor an address"),
        ("esps://h/path", "no path"),
        ("esps://h//", "no path"),
        ("esps://h?q=1", "no query"),
        ("esps://h?", "no query"),
        ("esps://h#f", "no fragment"),
        ("esps://user@h", "no user"),
        ("esps://@h", "no user"),
        ("esps://a b", "white space"),
        (" esps://h", "white space"),
        ("esps://h\n", "white space"),
        ("esps://h\0", "cannot be printed"),
        ("esps://\udcff", "cannot be printed"),
    ],
)
def test_what_names_no_portal(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"; write [^;]+$") as told:
        PortalURL.parse(text)
    assert reason in str(told.value)


def test_tls_is_not_offered_before_it_works() -> None:
    with pytest.raises(ValueError, match="write HOST") as told:
        PortalURL.parse("u@h")
    assert "tls" not in str(told.value)


@quickly
@given(st.text(max_size=20) | st.text(max_size=20).map("esps://{}".format))
def test_any_text_names_a_portal_or_is_a_value_error(text: str) -> None:
    try:
        url = PortalURL.parse(text)
    except ValueError:
        return
    assert url.host
    assert 1 <= url.port <= 65535
