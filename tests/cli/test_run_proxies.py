"""``esps-portal run`` with proxies."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.echo_servers import echo_server
from tests.cli.test_run import run
from tests.commands import run_failing

# Sends a line to the proxy NAME, and prints what comes back.
ASK = """
import os, socket, sys
name, line = sys.argv[1:]
where = os.environ[f"ESPS_PORTAL_{name}_HOST"], int(os.environ[f"ESPS_PORTAL_{name}_PORT"])
kind = socket.SOCK_DGRAM if name == "DNS" else socket.SOCK_STREAM
with socket.socket(socket.AF_INET, kind) as peer:
    peer.settimeout(30)
    try:
        peer.connect(where)
        peer.send(line.encode() + b"\\n")
        print(peer.recv(100).decode().strip())
    except ConnectionResetError:
        print("reset")
"""
SCENARIO = """
[[stubs]]
service = "price"
optional = true

[[proxies]]
name = "cache-1"
upstream = "{}"
[[proxies.faults]]
fault = "reset"
match = "INCR"
times = 1
"""


def ask(name: str, line: str, *options: str) -> subprocess.CompletedProcess[str]:
    return run(*options, "--", sys.executable, "-c", ASK, name, line)


def test_the_command_finds_each_proxy() -> None:
    with echo_server() as tcp, echo_server("udp") as udp:
        options = ("--proxy", f"cache={tcp}", "--proxy", f"dns={udp}", "--strict")
        for name in ("CACHE", "DNS"):
            ran = ask(name, "hi", *options)
            assert (ran.stdout, ran.stderr, ran.returncode) == ("OK hi\n", "", 0)


def test_the_scenario_has_proxies_with_faults(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    with echo_server() as upstream:
        path.write_text(SCENARIO.format(upstream))
        options = ("--scenario", str(path), "--strict")
        ran = ask("CACHE_1", "INCR", *options)
        assert (ran.stdout, ran.stderr, ran.returncode) == ("reset\n", "", 0)
        ran = ask("CACHE_1", "incr", *options)
        assert (ran.stdout, ran.returncode) == ("OK incr\n", 1)
        first, second, *_ = ran.stderr.splitlines()
        assert first == (
            "esps-portal: proxy cache-1: fault never struck: reset match='INCR' times=1"
        )
        assert second.startswith("    selected 0 times; nearest: ")
        assert second.endswith(" does not match 'INCR'")
        # The address of the file's server is another one today.
        path.write_text(SCENARIO.format("tcp://127.0.0.1:9"))
        ran = ask("CACHE_1", "INCR", *options, "--proxy", f"cache-1={upstream}")
        assert (ran.stdout, ran.stderr, ran.returncode) == ("reset\n", "", 0)


def test_strict_reports_a_server_that_cannot_be_reached() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        upstream = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        ran = ask("A", "hi", "--proxy", f"a={upstream}", "--strict")
    assert (ran.stdout, ran.returncode) == ("reset\n", 1)
    assert (
        f"esps-portal: proxy a: upstream {upstream} could not be reached: Connection refused (once)"
    ) in ran.stderr.splitlines()


def test_the_seed_of_a_random_fault_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    with echo_server() as upstream:
        path.write_text(SCENARIO.format(upstream).replace("times = 1", "chance = 1\nseed = 7"))
        ran = ask("CACHE_1", "INCR", "--scenario", str(path))
    assert ran.stderr == "esps-portal: random fault: reset match='INCR' chance=1 seed=7\n"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["cache"], "'cache': expected NAME=URL, as in cache=tcp://127.0.0.1:6379"),
        (["=tcp://x:1"], "'' is not a name (a letter, then up to 63 letters, digits, - . _)"),
        (["1a=tcp://x:1"], "'1a' is not a name"),
        (["a b=tcp://x:1"], "'a b' is not a name"),
        (["a=tcp://x"], "the port is missing in 'tcp://x'"),
        (["a=x:1"], "'x:1' does not say what is spoken there"),
        (["a=http://x:1"], "unknown scheme in 'http://x:1'"),
        (
            ["a-b=tcp://x:1", "A.B=udp://x:1"],
            "'--proxy': 'a-b' and 'A.B' would both be ESPS_PORTAL_A_B_HOST",
        ),
        (["a=tcp://x:1", "a=tcp://x:2"], "'a' and 'a' would both be ESPS_PORTAL_A_HOST"),
    ],
)
def test_bad_proxies(given: list[str], says: str) -> None:
    options = [option for value in given for option in ("--proxy", value)]
    status, message = run_failing("run", *options, "true")
    assert status == 2
    assert says in message


def test_a_bad_scenario(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text(SCENARIO.format("udp://x:1"))
    status, message = run_failing("run", "--scenario", str(path), "true")
    assert status == 2
    assert f"{path}: proxies[0].faults[0]: fault 'reset' works over TCP only" in message
    path.write_text(SCENARIO.format("tcp://x:1"))
    status, message = run_failing(
        "run", "--scenario", str(path), "--proxy", "CACHE.1=tcp://x:1", "true"
    )
    assert status == 2
    assert "'CACHE.1' and 'cache-1' would both be ESPS_PORTAL_CACHE_1_HOST" in message
