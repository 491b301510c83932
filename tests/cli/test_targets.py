"""The address of a portal, in all its forms, wherever it may be given."""

from __future__ import annotations

import socket

import pytest
import trio

from esps_portal import blocking, connect
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import run

FORMS = ["localhost:{}", "127.0.0.1:{}", "esps://127.0.0.1:{}", "esps+udp://localhost:{}"]


@pytest.mark.parametrize("form", FORMS)
def test_every_command_takes_it(portal: ThreadedPortal, form: str) -> None:
    target = form.format(portal.port)
    assert run("ping", "-c", "1", target)[0] == 0
    for args in (["ping", "-c", "1"], ["list"], ["call", "echo"]):
        assert run(*args, "--url", target)[0] == 0, args
        assert run(*args, url=target)[0] == 0, args


@pytest.mark.parametrize("form", FORMS)
def test_both_clients_take_it(portal: ThreadedPortal, form: str) -> None:
    target = form.format(portal.port)

    async def ask() -> tuple[bytes, ...]:
        async with connect(target) as client:
            return await client.ping("x")

    assert trio.run(ask) == (b"x",)
    with blocking.connect(target) as client:
        assert client.ping("x") == (b"x",)


def test_ipv6() -> None:
    try:
        portal = ThreadedPortal.start(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        code, out, _ = run("ping", "-c", "1", f"[::1]:{portal.port}")
    finally:
        portal.stop()
    assert code == 0
    assert f"pong from esps://[::1]:{portal.port}: " in out


def test_the_argument_comes_before_the_environment(portal: ThreadedPortal) -> None:
    where = f"127.0.0.1:{portal.port}"
    assert run("ping", "-c", "1", where, url="nowhere.invalid")[0] == 0
    code, _, err = run("ping", where, "--url", where)
    assert code == 2
    assert err.startswith("esps-portal ping: give TARGET or --url, not both; see ")


@pytest.mark.parametrize(
    ("target", "instead"),
    [
        ("localhost:", "localhost or localhost:PORT"),
        ("http://x", "esps://x (TCP), esps+tls://x (TLS) or esps+udp://x (UDP)"),
        ("[::1", "[IPV6] or [IPV6]:PORT"),
        ("host:99999", "host:PORT"),
        ("::1:9", "[::1]:9, or [::1:9] if it has no port"),
        ("2867", "localhost:2867"),
        ("esps+tls:h", "esps+tls://h"),
    ],
)
def test_a_near_miss_is_one_line(target: str, instead: str) -> None:
    for args in (["ping", target], ["list", "--url", target]):
        code, out, err = run(*args)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert f"; write {instead}; see esps-portal {args[0]} --help\n" in err
    code, _, err = run("call", "echo", url=target)
    assert (code, err.count("\n")) == (2, 1)
    assert "ESPS_PORTAL_URL" in err


@pytest.mark.parametrize(
    ("host", "instead"),
    [("127.0.0.1:9", "127.0.0.1 --port 9"), ("[::1]", "::1"), ("esps://h", "h")],
)
@pytest.mark.parametrize("command", ["serve", "inspect"])
def test_a_host_with_a_port_has_a_hint(command: str, host: str, instead: str) -> None:
    code, _, err = run(command, "--host", host)
    assert (code, err.count("\n")) == (2, 1)
    assert f": expected only a host, got {host!r}; write {instead}; see " in err


def test_localhost_is_two_addresses(
    portal: ThreadedPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over UDP too, an address where nothing listens is skipped."""
    infos = [
        (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))
        for port in (1, portal.port)  # nothing listens on port 1
    ]

    async def found(*_: object, **__: object) -> object:
        return infos

    async def ask() -> tuple[bytes, ...]:
        async with connect("esps+udp://h") as client:
            return await client.ping("x")

    monkeypatch.setattr(trio.socket, "getaddrinfo", found)
    assert trio.run(ask) == (b"x",)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    with blocking.connect("esps+udp://h") as client:
        assert client.ping("x") == (b"x",)
