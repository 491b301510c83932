"""URLs of portals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.urls import PortalURL
from tests.cases import cases
from tests.protocol.strategies import LOWER

hosts = st.ip_addresses().map(str) | st.lists(
    st.text(LOWER, min_size=1, max_size=9), min_size=1, max_size=3
).map(".".join)
urls = st.builds(PortalURL, st.sampled_from(["tcp", "tls", "udp"]), hosts, st.integers(1, 65535))


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
def test_urls(text: str, transport: str, host: str, port: int) -> None:
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
def test_an_address_without_a_scheme_means_tcp(text: str, host: str, port: int) -> None:
    assert PortalURL.parse(text) == PortalURL("tcp", host, port)


@given(hosts, st.integers(1, 65535))
def test_an_address_without_a_scheme_is_its_url(host: str, port: int) -> None:
    url = PortalURL("tcp", host, port)
    assert PortalURL.parse(str(url).removeprefix("esps://")) == url


@cases(
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
        ("[::1", "closing bracket is missing", "[IPV6] or [IPV6]:PORT"),
        ("[::1]9", "only ':PORT' may follow ']'", "[::1] or [::1]:PORT"),
        ("::1:9", "last part could be a port", "[::1]:9, or [::1:9] if it has no port"),
        ("::1:99999", "needs brackets", "[::1]:PORT"),
        ("1:2:3:4:5:6:7:8:9", "needs brackets", "[1:2:3:4:5:6:7:8]:9"),
        ("a:b:c", "needs brackets", "[IPV6]:PORT"),
        ("esps:h", "'://' must follow a scheme", "esps://h"),
        (
            "http://h",
            "unknown scheme 'http'",
            "esps://h (TCP), esps+tls://h (TLS) or esps+udp://h (UDP)",
        ),
        (
            "tcp://h:9",
            "unknown scheme 'tcp'",
            "esps://h:9 (TCP), esps+tls://h:9 (TLS) or esps+udp://h:9 (UDP)",
        ),
        (
            "https://",
            "unknown scheme 'https'",
            "esps://HOST (TCP), esps+tls://HOST (TLS) or esps+udp://HOST (UDP)",
        ),
        ("esps://::1", "needs brackets", "esps://[::1]"),
        ("esps://::1:9", "needs brackets", "[::1]:9"),
    ],
)
def test_the_error_says_what_to_write(text: str, reason: str, instead: str) -> None:
    with pytest.raises(ValueError, match=r"^'.*' is not the address of a portal: ") as caught:
        PortalURL.parse(text)
    assert str(caught.value).endswith(f"{reason}; write {instead}")
    assert len(str(caught.value)) < 250


@cases(
    ("text", "reason"),
    [
        ("//h", "a path is not allowed"),
        ("u@h", "a user is not allowed"),
        ("h?q", "a query is not allowed"),
        ("esps://", "host is missing"),
        ("esps://:2867", "host is missing"),
        ("esps:///path", "a path is not allowed"),
        ("esps://h:0", "from 1 to 65535"),
        ("esps://h:65536", "from 1 to 65535"),
        ("esps://h:" + "9" * 5000, "from 1 to 65535"),
        ("esps://h:port", "from 1 to 65535"),
        ("esps://h:-1", "from 1 to 65535"),
        ("esps://h:\u0663", "from 1 to 65535"),
        ("esps://[h]", "'h' is not an IPv6 address"),
        ("esps://]", "not a valid name or address"),
        ("esps://a..b", "not a valid name or address"),
        ("esps://" + "a" * 70, "not a valid name or address"),
        ("esps://h/path", "a path is not allowed"),
        ("esps://h//", "a path is not allowed"),
        ("esps://h?q=1", "a query is not allowed"),
        ("esps://h?", "a query is not allowed"),
        ("esps://h#f", "a fragment is not allowed"),
        ("esps://user@h", "a user is not allowed"),
        ("esps://@h", "a user is not allowed"),
        ("esps://a b", "white space"),
        (" esps://h", "white space"),
        ("esps://h\n", "white space"),
        ("esps://h\0", "unprintable"),
        ("esps://\udcff", "unprintable"),
    ],
)
def test_invalid_addresses(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"; write [^;]+$") as caught:
        PortalURL.parse(text)
    assert reason in str(caught.value)


def test_an_error_names_every_scheme() -> None:
    with pytest.raises(ValueError, match=r"esps://.*esps\+tls://.*esps\+udp://"):
        PortalURL.parse("u@h")


@given(st.text(max_size=20) | st.text(max_size=20).map("esps://{}".format))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        url = PortalURL.parse(text)
    except ValueError:
        return
    assert url.host
    assert 1 <= url.port <= 65535


@pytest.mark.parametrize("host", ["%%", "a%b", "%25", "a%25b%", "fe80::1%lo", "fe80::1%25"])
def test_a_percent_sign_is_read_as_it_was_written(host: str) -> None:
    url = PortalURL("tcp", host, 9)
    assert PortalURL.parse(str(url)) == url


@pytest.mark.parametrize(
    ("value", "instead"),
    [
        (("127.0.0.1", 9), "got ('127.0.0.1', 9); write '127.0.0.1:9', or f\"{host}:{port}\""),
        (("::1", 9, 0, 0), "write '[::1]:9', or f\"{host}:{port}\""),
        (9, "got 9; write 'localhost:2867' or 'esps://localhost'"),
        (b"localhost", "got b'localhost'; write 'localhost:2867' or"),
    ],
)
def test_what_is_no_text(value: object, instead: str) -> None:
    with pytest.raises(TypeError, match="must be text") as caught:
        PortalURL.parse(value)  # type: ignore[arg-type]
    assert instead in str(caught.value)
