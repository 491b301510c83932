"""The rules of nftables: checked by nft, and loaded in a network of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from esps_portal.deployment.kinds import KINDS
from tests.conftest import REQUIRE_TOOLS

RULES = KINDS["firewall"].read("esps-portal.nft")


@pytest.fixture(scope="module")
def own_network(tool: Callable[[str], str]) -> list[str]:
    """Return what runs a command in a user and a network namespace of its own."""
    tool("nft")
    command = [tool("unshare"), "--user", "--map-root-user", "--net"]
    ran = subprocess.run([*command, "true"], capture_output=True, timeout=60, check=False)
    if ran.returncode:
        if os.environ.get(REQUIRE_TOOLS) and os.geteuid() == 0:
            pytest.fail("root cannot make a network namespace")
        pytest.skip("no network namespace can be made here")
    return command


def test_nft_accepts_the_rules(own_network: list[str], tmp_path: Path) -> None:
    file = tmp_path / "esps-portal.nft"
    file.write_text(RULES, encoding="utf-8")
    check = [*own_network, "nft", "--check", "--file", str(file)]
    ran = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


# In a network of its own: the loopback device, with an address that is no client's.
PROGRAM = """
import json, socket, subprocess, sys

for command in ("ip link set lo up", "ip address add 198.51.100.1/32 dev lo"):
    subprocess.run(command.split(), check=True)
for _ in range(2):  # loading it again replaces it
    subprocess.run(["nft", "-f", sys.argv[1]], check=True)

server, other = (socket.create_server(("0.0.0.0", port)) for port in (2867, 0))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", 2867))
datagrams.settimeout(0.3)

def connects(source, port=2867):
    try:
        socket.create_connection(("127.0.0.1", port), 0.3, (source, 0)).close()
    except TimeoutError:
        return False
    return True

def sends(source):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.sendto(b"x", ("127.0.0.1", 2867))
    try:
        return datagrams.recv(10) == b"x"
    except TimeoutError:
        return False

def flood():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(6000):
            client.sendto(b"y", ("127.0.0.1", 2867))
    listed = json.loads(subprocess.check_output(["nft", "-j", "list", "chain", "inet",
                                                 "esps_portal", "portal"]))
    rules = [entry["rule"]["expr"] for entry in listed["nftables"] if "rule" in entry]
    limited = next(rule for rule in rules if any("set" in part for part in rule))
    return next(part["counter"]["packets"] for part in limited if "counter" in part)

seen = {
    "tcp": [connects("127.0.0.1"), connects("198.51.100.1")],
    "udp": [sends("127.0.0.1"), sends("198.51.100.1")],
    "other port": connects("198.51.100.1", other.getsockname()[1]),
    "dropped": flood(),
}
print(json.dumps(seen))
"""


def test_only_clients_get_through_and_none_floods(
    own_network: list[str], tool: Callable[[str], str], tmp_path: Path
) -> None:
    tool("ip")
    file = tmp_path / "esps-portal.nft"
    file.write_text(RULES, encoding="utf-8")
    command = [*own_network, sys.executable, "-c", PROGRAM, str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen["tcp"] == seen["udp"] == [True, False]
    assert seen["other port"], "the rules are about the portal alone"
    assert seen["dropped"] > 0, "6000 datagrams within a second or two"
