"""Who may ask: raw requests as a browser, a neighbour or a smuggler would send them."""

from __future__ import annotations

import pytest

from esps_portal.control.guard import Guard
from esps_portal.control.http_messages import HttpError, RequestHead
from esps_portal.control.serving import ControlConfig
from tests.control.controlled import Controlled, controlled

TO_VERIFY = "POST /verify HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Type: application/json"
TOKEN = "abc.DEF_123~+/=="  # noqa: S105 - of a test


def raw(it: Controlled, lines: str, *, host: bool = True, body: str = "") -> bytes:
    """Return a request of a line and headers, PORT in them replaced."""
    number = str(it.address[1])
    head = f"{lines}\nHost: 127.0.0.1:PORT" if host else lines
    text = head.replace("PORT", number).replace("\n", "\r\n") + "\r\n\r\n" + body
    return text.encode("latin-1")


def post(*headers: str, length: int = 2) -> str:
    lines = ["POST /verify HTTP/1.1", "Content-Type: application/json", *headers]
    return "\n".join([*lines, f"Content-Length: {length}"])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:PORT", "localhost:PORT", "LocalHost:PORT", "[::1]:PORT", "portal.test:PORT", "b:8"],
)
async def test_a_host_that_is_ours(host: str) -> None:
    async with controlled(ControlConfig(allowed_hosts=("portal.test", "B:8"))) as it:
        client = await it.client()
        answer = await client.raw(raw(it, f"GET /version HTTP/1.1\nHost: {host}", host=False))
        assert answer.status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("Host: evil.example:PORT", 421),
        ("Host: evil.example", 421),
        ("Host: 127.0.0.1", 421),
        ("Host: 127.0.0.1:1", 421),
        ("Host: localhost.:PORT", 421),
        ("Host: localhost:PORT.evil.example", 421),
        ("Host: user@localhost:PORT", 421),
        ("Host: 127.1:PORT", 421),
        ("Host: ::1:PORT", 421),
        ("Host: 127.0.0.1:0PORT", 421),
        ("Host: \x85localhost:PORT", 421),
        ("Host: localhost:PORT, localhost:PORT", 421),
        ("Host: localhost\n :PORT", 421),
        ("Host:", 421),
        ("Host: localhost:PORT\nHost: localhost:PORT", 400),
        ("Host: localhost:PORT\nhOST: evil.example", 400),
        ("Host : localhost:PORT", 400),
        ("X-Forwarded-Host: localhost:PORT", 400),
        ("A: b", 400),
    ],
)
async def test_a_host_that_is_not_ours(host: str, status: int) -> None:
    async with controlled() as it:
        for line in ("GET /version HTTP/1.1", post().partition("\n")[0]):
            client = await it.client()
            answer = await client.raw(raw(it, f"{line}\n{host}", host=False))
            assert answer.status == status
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        # What h11 admits, and this does not.
        ("GET /version HTTP/1.0", 400),
        ("GET http://127.0.0.1:PORT/version HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        ("GET http://evil.example/version HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        (
            f"{TO_VERIFY}\nContent-Length: 2\nTransfer-Encoding: chunked",
            400,
        ),
        (
            f"{TO_VERIFY.replace('1.1', '1.0')}\nTransfer-Encoding: chunked",
            400,
        ),
        ("GET /version HTTP/9.9\nHost: 127.0.0.1:PORT", 505),
        ("GET /version HTTP/2.0\nHost: 127.0.0.1:PORT", 505),
        # Other forms of a target.
        ("GET version HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        ("OPTIONS * HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        ("CONNECT 127.0.0.1:PORT HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        ("GET //version HTTP/1.1\nHost: 127.0.0.1:PORT", 404),
        ("GET /%76ersion HTTP/1.1\nHost: 127.0.0.1:PORT", 404),
        ("GET /../version HTTP/1.1\nHost: 127.0.0.1:PORT", 404),
        # A body where none is, and lengths that disagree.
        ("GET /version HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 2", 400),
        ("GET /version HTTP/1.1\nHost: 127.0.0.1:PORT\nTransfer-Encoding: chunked", 400),
        ("GET /version HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: 0\nContent-Length: 2", 400),
        ("GET /version HTTP/1.1\nHost: 127.0.0.1:PORT\nContent-Length: -1", 400),
        ("GET /version HTTP/1.1\nHost: 127.0.0.1:PORT\nTransfer-Encoding: gzip, chunked", 501),
        ("GET  /version HTTP/1.1\nHost: 127.0.0.1:PORT", 400),
        ("GET /version\nHost: 127.0.0.1:PORT", 400),
        ("a PING", 400),
        ("\x16\x03\x01\x02", 400),
    ],
)
async def test_a_request_that_two_parsers_might_read_in_two_ways(lines: str, status: int) -> None:
    async with controlled() as it:
        client = await it.client()
        answer = await client.raw(raw(it, lines, host=False, body="{}"))
        assert (answer.status, answer.value["key"]) == (status, "")
        assert (await it.main.ports.reset()) == 0


async def test_what_follows_a_refused_body_is_no_request() -> None:
    """The body of one parser is the request of the other."""
    async with controlled() as it:
        client = await it.client()
        inner = raw(it, post(), body="{}").decode()
        answer = await client.raw(
            raw(it, post("Transfer-Encoding: chunked", length=5), body=f"0\r\n\r\n{inner}")
        )
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert await client.ended()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Origin: http://evil.example", 403),
        ("Origin: null", 403),
        ("Origin: http://127.0.0.1:PORT", 403),
        ("Origin:", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Sec-Fetch-Site: none\nSec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: NONE", 403),
        ("Sec-Fetch-Site:", 403),
        ("Sec-Fetch-Site: none", 200),
        ("Sec-Fetch-Site: same-origin", 200),
        ("Referer: http://evil.example", 200),
    ],
)
async def test_a_page_in_a_browser(header: str, status: int) -> None:
    async with controlled() as it:
        for line in ("GET /version HTTP/1.1", post()):
            client = await it.client()
            answer = await client.raw(raw(it, f"{line}\n{header}", body="{}" * ("POST" in line)))
            assert answer.status == status
            allowed = [name for name in answer.headers if name.startswith("access-control")]
            assert not allowed, "no page may read it either"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_preflight_of_a_browser_is_refused() -> None:
    async with controlled() as it:
        preflight = "OPTIONS /verify HTTP/1.1\nAccess-Control-Request-Method: POST"
        answer = await (await it.client()).raw(raw(it, preflight), b"OPTIONS")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        answer = await (await it.client()).raw(raw(it, f"{preflight}\nOrigin: null"), b"OPTIONS")
        assert answer.status == 403


@pytest.mark.parametrize(
    ("types", "status"),
    [
        (["application/json"], 200),
        (["Application/JSON; charset=utf-8"], 200),
        (['application/json;charset="UTF-8"'], 200),
        (["application/json; charset=latin1"], 415),
        (["application/json; x=y"], 415),
        (["application/jsonp"], 415),
        (["application/json, text/plain"], 415),
        (["application/json", "application/json"], 415),
        (["application/toml"], 415),
        (["text/plain"], 415),
        (["application/x-www-form-urlencoded"], 415),
        (["multipart/form-data; boundary=application/json"], 415),
        ([""], 415),
        ([], 415),
    ],
)
@pytest.mark.parametrize("body", ["{}", ""])
async def test_what_a_form_could_send(types: list[str], status: int, body: str) -> None:
    async with controlled() as it:
        client = await it.client()
        fields = "".join(f"\nContent-Type: {each}" for each in types)
        length = f"\nContent-Length: {len(body)}" if body else ""
        answer = await client.raw(raw(it, f"POST /verify HTTP/1.1{fields}{length}", body=body))
        assert answer.status == status
        assert status == 200 or answer.error.endswith("; curl sends it with --json '{}'")


async def test_a_compressed_body_is_refused() -> None:
    async with controlled() as it:
        answer = await (await it.client()).raw(raw(it, post("Content-Encoding: gzip"), body="{}"))
        assert (answer.status, answer.error) == (
            415,
            "Content-Encoding is not accepted: send the body as it is",
        )


async def test_a_token() -> None:
    async with controlled(ControlConfig(token=TOKEN)) as it:
        for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
            client = await it.client()
            assert (await client.ask("GET", "/version", Authorization=given)).status == 200
        for wrong in (
            None,
            "",
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Bearer {TOKEN.lower()}",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer {TOKEN}, Bearer {TOKEN}",
        ):
            client = await it.client()
            answer = await client.ask("POST", "/verify", {}, Authorization=wrong)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert TOKEN not in answer.body.decode()
        answer = await (await it.client()).raw(
            raw(it, "GET /version HTTP/1.1\nAuthorization: Bearer \xe9")
        )
        assert answer.status == 401
        twice = f"GET /version HTTP/1.1\nAuthorization: Bearer {TOKEN}\nAuthorization: Bearer x"
        assert (await (await it.client()).raw(raw(it, twice))).status == 401


async def test_the_token_is_no_way_around_the_host() -> None:
    async with controlled(ControlConfig(token=TOKEN)) as it:
        client = await it.client()
        answer = await client.ask("GET", "/version", Host="evil", Authorization=f"Bearer {TOKEN}")
        assert answer.status == 421


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_beyond_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(ValueError, match="needs a token"):
        ControlConfig(host=host)
    assert TOKEN not in repr(ControlConfig(host=host, token=TOKEN))


def test_the_literal_that_it_is_bound_to() -> None:
    guard = Guard.of([("192.0.2.7", 80), ("2001:db8::7", 80)], ["Portal.Test"])
    assert "192.0.2.7:80" in guard.hosts
    for host in (b"192.0.2.7", b"[2001:DB8::7]:80", b"portal.test", b"localhost:80"):
        guard.check(RequestHead("GET", "/", "1.1", ((b"host", host),)))
    with pytest.raises(HttpError, match="Host must be one of"):
        guard.check(RequestHead("GET", "/", "1.1", ((b"host", b"192.0.2.8"),)))
