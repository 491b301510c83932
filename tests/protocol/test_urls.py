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
    "text",
    [
        "",
        "h",
        "h:2867",
        "//h",
        "http://h",
        "esps:h",
        "esps://",
        "esps://:2867",
        "esps://h:",
        "esps://h:0",
        "esps://h:65536",
        "esps://h:port",
        "esps://h:-1",
        "esps://[::1",
        "esps://::1",
        "esps://h/path",
        "esps://h?q=1",
        "esps://h#f",
        "esps://user@h",
    ],
)
def test_what_is_no_url_of_a_portal(text: str) -> None:
    with pytest.raises(ValueError, match="is no portal URL: esps://HOST"):
        PortalURL.parse(text)


@quickly
@given(st.text(max_size=20) | st.text(max_size=20).map("esps://{}".format))
def test_any_text_is_a_url_or_a_value_error(text: str) -> None:
    try:
        url = PortalURL.parse(text)
    except ValueError:
        return
    assert url.host
    assert 1 <= url.port <= 65535
