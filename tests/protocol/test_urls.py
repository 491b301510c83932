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
    ("text", "reason"),
    [
        ("", "no scheme"),
        ("//h", "no scheme"),
        ("esps:h", "no scheme"),
        ("http://h", "no scheme 'http'"),
        ("esps://", "host is missing"),
        ("esps://:2867", "host is missing"),
        ("esps:///path", "no path"),
        ("esps://h:", "port behind the colon is missing"),
        ("esps://[::1]:", "port behind the colon is missing"),
        ("esps://h:0", "from 1 to 65535"),
        ("esps://h:65536", "from 1 to 65535"),
        ("esps://h:" + "9" * 5000, "from 1 to 65535"),
        ("esps://h:port", "from 1 to 65535"),
        ("esps://h:-1", "from 1 to 65535"),
        ("esps://h:\u0663", "from 1 to 65535"),
        ("esps://[::1", "bracket is not closed"),
        ("esps://[::1]x", "nothing but a port"),
        ("esps://[h]", "'h'"),
        ("esps://]", "neither a name nor an address"),
        ("esps://a..b", "neither a name nor an address"),
        ("esps://" + "a" * 70, "neither a name nor an address"),
        ("esps://::1", "in brackets"),
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
def test_what_is_no_url_of_a_portal(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"is not a portal URL: .*; write esps://HOST") as told:
        PortalURL.parse(text)
    assert reason in str(told.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("h", "esps://h"),
        ("h:2867", "esps://h:2867"),
        ("127.0.0.1", "esps://127.0.0.1"),
        ("::1", "esps://[::1]"),
        ("[::1]:9", "esps://[::1]:9"),
    ],
)
def test_a_host_alone_is_told_how_it_is_written(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match="it has no scheme; write") as told:
        PortalURL.parse(text)
    assert str(told.value).endswith(f"; write {meant}")


@quickly
@given(st.text(max_size=20) | st.text(max_size=20).map("esps://{}".format))
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    try:
        url = PortalURL.parse(text)
    except ValueError:
        return
    assert url.host
    assert 1 <= url.port <= 65535
