"""Real servers of other protocols, each on a free port, for real clients to reach."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE

# Seconds that a server may take to listen, on a machine that is busy.


def free_port() -> int:
    """Return a port that nobody has; another process may take it before the server does."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def run_until_listening(command: Callable[[int], list[str]]) -> tuple[subprocess.Popen[bytes], int]:
    """Start a server, and return it with its port once it accepts; another port if one is taken."""
    for _ in range(5):
        port = free_port()
        server = subprocess.Popen(
            command(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while server.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                continue
            return server, port
        server.kill()
        server.wait()
    pytest.fail(f"{command(0)[0]} does not listen")


def end(server: subprocess.Popen[bytes]) -> None:
    """End a server that was started here."""
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def redis_port(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a redis-server without files."""
    program, folder = tool("redis-server"), str(tmp_path_factory.mktemp("redis"))
    options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", folder]
    server, port = run_until_listening(lambda port: [program, "--port", str(port), *options])
    yield port
    end(server)


@pytest.fixture(scope="module")
def memcached_port(tool: Callable[[str], str]) -> Iterator[int]:
    """The port of a memcached."""
    program = tool("memcached")
    server, port = run_until_listening(
        lambda port: [program, "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"]
    )
    yield port
    end(server)


@pytest.fixture(scope="module")
def mosquitto_port(
    tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a mosquitto that lets everybody in."""
    program = tool("mosquitto")
    folder: Path = tmp_path_factory.mktemp("mosquitto")

    def command(port: int) -> list[str]:
        file = folder / f"{port}.conf"
        file.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n", encoding="ascii")
        return [program, "-c", str(file)]

    server, port = run_until_listening(command)
    yield port
    end(server)
