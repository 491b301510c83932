"""A client in another language, written from the specification alone, against the server."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import RunningServer, running_server

pytestmark = pytest.mark.heavy

CLIENT = Path(__file__).with_name("client.mjs")
Client = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def client(portal: RunningServer, tool: Callable[[str], str]) -> Client:
    node = tool("node")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        transport, *rest = args
        return subprocess.run(
            [node, CLIENT, transport, "127.0.0.1", str(portal.port), *rest],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_calls(client: Client, transport: str) -> None:
    assert client(transport, "PING", "x", "").stdout == "x \n"
    assert client(transport, "CALL", "echo", "two words", '%"#', "ü").stdout == 'two words %"# ü\n'
    assert client(transport, "CALL", "drip", "2", "1").stdout == "1\n2\n2\n"


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_reply_that_needs_room(client: Client, transport: str) -> None:
    assert client(transport, "LIST").stdout.startswith("echo discard chargen")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_error(client: Client, transport: str) -> None:
    ran = client(transport, "CALL", "fail", "x-shop", "sold out")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "x-shop sold out\n")


def test_more_lines_than_one_packet(client: Client) -> None:
    lines = client("tcp", "CALL", "chargen", "1000").stdout.splitlines()
    assert len(lines) == 1001  # the OK has no arguments, and is an empty line
    assert lines[0].startswith(" !\"#$%&'()*+,-./0123456789")
