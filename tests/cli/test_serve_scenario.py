"""``esps-portal serve --scenario`` with a file that has proxies and peers as well."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from tests.cli.control_client import ask
from tests.cli.echo_servers import echo_server
from tests.cli.test_sighup import daemon, hang_up
from tests.commands import run_failing
from tests.processes import RunningServer, running_server

SCENARIO = """
[limits]
max-in-flight = 8

[[stubs]]
service = "price"
reply = "9.99"

[[proxies]]
name = "cache"
upstream = "{}"
faults = [{{fault = "truncate", match = {{regex = "^CUT"}}, bytes = 2}}]

[[peers]]
name = "mail"
framing = "lines:crlf"
greeting = "220 ready"
[[peers.stubs]]
match = {{regex = "(?i)^ehlo"}}
reply = "250 ok"
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop.toml"


def say(running: RunningServer, kind: str, name: str, said: bytes) -> bytes:
    """Say something to a server beside the portal; return all that it answers."""
    servers: Any = running.ready[kind]
    host, port = servers[name]
    with socket.create_connection((host, port), 30) as client:
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def test_it_starts_all_of_the_file(shop: Path) -> None:
    with echo_server() as upstream:
        shop.write_text(SCENARIO.format(upstream))
        with running_server("--scenario", str(shop), "--control") as running:
            with blocking.connect(running.url) as portal:
                assert portal.call("price") == (b"9.99",)
            assert say(running, "proxies", "cache", b"hi\n") == b"OK hi\n"
            assert say(running, "proxies", "cache", b"CUT\n") == b"OK"
            assert say(running, "peers", "mail", b"EHLO x\r\n") == b"220 ready\r\n250 ok\r\n"
            control = str(running.ready["control"])
            status, struck = ask(control, "GET", "/proxies/cache/faults")
            assert (status, [fault["happened"] for fault in struck]) == (200, [1])
            status, scenario = ask(control, "GET", "/scenario")
            assert [each["name"] for each in scenario["proxies"]] == ["cache"]
            assert ask(control, "PUT", "/scenario", scenario) == (200, scenario)
            assert say(running, "peers", "mail", b"ehlo y\r\n") == b"220 ready\r\n250 ok\r\n"


def test_it_needs_no_control_port_for_that(shop: Path) -> None:
    with echo_server() as upstream:
        shop.write_text(SCENARIO.format(upstream))
        with running_server("--scenario", str(shop), json_lines=False) as running:
            text = running.first_lines(5)
            proxy, peer = text.splitlines()[2:4]
            assert proxy.startswith("proxy cache on 127.0.0.1 port ")
            assert peer.startswith("peer mail on 127.0.0.1 port ")
            with socket.create_connection(("127.0.0.1", int(peer.rsplit(" ", 1)[1])), 30) as client:
                assert client.makefile("rb").readline() == b"220 ready\r\n"
            assert running.stop() == 0


def test_a_wrong_upstream_is_an_error_of_the_file(shop: Path) -> None:
    shop.write_text(SCENARIO.format("http://x"))
    status, message = run_failing("serve", "--port", "0", "--scenario", str(shop))
    assert status == 2
    assert f"{shop}: proxies[0].upstream: unknown scheme" in message


def test_sighup_reloads_what_is_the_portals(shop: Path) -> None:
    upstream = "tcp://127.0.0.1:9"
    shop.write_text(SCENARIO.format(upstream))
    with daemon("--scenario", str(shop)) as running:
        shop.write_text(SCENARIO.format(upstream).replace("9.99", "10"))
        assert hang_up(running) == {"error": None}
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"10",)
        assert say(running, "peers", "mail", b"") == b"220 ready\r\n"
        shop.write_text(SCENARIO.format(upstream).replace("250 ok", "250 other"))
        assert hang_up(running) == {
            "error": f"{shop}: proxies and peers cannot change after the portal has started"
        }
        with blocking.connect(running.url) as portal:
            assert portal.call("price") == (b"10",)
