"""A running proxy as a scenario, and the faults of one from it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from esps_portal.testing import ScenarioError, length_prefixed, lines, open_proxy, proxy_in_thread
from tests.line_servers import counter, line_server
from tests.mock.scenarios import EVERY_KEY, PROXIES
from tests.sockets import connected

REQUEST_LINES, REPLIES = lines("\r\n"), length_prefixed(2, order="little")
CUT = """
[[proxies]]
name = "cache"
upstream = "tcp://192.0.2.7:6379"
faults = [{fault = "truncate", bytes = 1}]
"""


def test_faults_of_a_scenario_strike(tmp_path: Path) -> None:
    file = tmp_path / "shop.toml"
    file.write_text(CUT)
    for given in (CUT, file, str(file)):
        with line_server(counter()) as upstream, proxy_in_thread(upstream) as proxy:
            proxy.load(given)
            with connected(proxy, greeted=False) as client:
                client.send(b"INCR n\n")
                assert len(client.rest()) == 1
            assert proxy.problems() == []


def test_it_takes_its_part_of_a_file_for_run() -> None:
    with proxy_in_thread(
        "tcp://127.0.0.1:6379", framing=REQUEST_LINES, reply_framing=REPLIES
    ) as proxy:
        proxy.load(EVERY_KEY + PROXIES, "cache-1")
        dumped = tomllib.loads(proxy.dump("cache-1"))
        assert dumped == {"proxies": tomllib.loads(PROXIES)["proxies"][:1]}
        again = proxy.dump("again")
        proxy.reset()
        proxy.load(again)
        assert proxy.dump("again") == again


def test_a_portal_has_its_own_framing() -> None:
    with proxy_in_thread("esps://127.0.0.1:9") as proxy:
        proxy.load(CUT)
        assert "framing" not in proxy.dump()
        assert 'fault = "truncate"' in proxy.dump()


async def test_the_same_inside_trio() -> None:
    async with open_proxy("tcp://127.0.0.1:9") as proxy:
        proxy.load(CUT)
        assert "truncate" in proxy.dump()


@pytest.mark.parametrize(
    ("scenario", "name", "message"),
    [
        (PROXIES, None, "^proxies: there are several: give the name cache-1 or dns"),
        (PROXIES, "web", "^proxies: there is no 'web', but cache-1, dns"),
        ("", None, "^proxies: there are none in the file"),
        (PROXIES, "cache-1", r"^proxies\[0\]\.framing: a proxy gets its framing when it starts"),
        (CUT.replace("truncate", "drop"), None, r"^proxies\[0\]\.faults\[0\]"),
    ],
)
def test_what_cannot_be_loaded(scenario: str, name: str | None, message: str) -> None:
    with proxy_in_thread("tcp://127.0.0.1:9") as proxy:
        with pytest.raises(ScenarioError, match=message):
            proxy.load(scenario, name)
        assert "faults" not in proxy.dump()


def test_other_replies_cannot_be_loaded() -> None:
    with (
        proxy_in_thread("tcp://127.0.0.1:9", framing=REQUEST_LINES) as proxy,
        pytest.raises(ScenarioError, match=r"^proxies\[0\]\.reply_framing: a proxy gets its"),
    ):
        proxy.load(PROXIES, "cache-1")
