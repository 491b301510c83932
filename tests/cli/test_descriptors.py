"""The limit on descriptors: it is raised, and who comes beyond it is told so."""

from __future__ import annotations

import contextlib
import resource
import socket
import sys
from collections.abc import Iterator

import pytest

from tests.forked import ForkedProcess
from tests.patience import PATIENCE
from tests.processes import RunningServer

# Descriptors: the hard limit of the tests.
_HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@contextlib.contextmanager
def server(limits: tuple[int, int], *options: str) -> Iterator[RunningServer]:
    """Start a server that has a soft and a hard limit."""
    with ForkedProcess(*options, "--port", "0", limits=limits) as process:
        try:
            running = RunningServer(process)
            running.first_lines(1)
            yield running
        finally:
            process.terminate()


@pytest.mark.parametrize(
    "command",
    [["serve"], ["proxy", "--upstream", "tcp://127.0.0.1:9"], ["peer", "--framing", "lines"]],
    ids=lambda c: c[0],
)
def test_the_soft_limit_is_raised_to_the_hard_one(command: list[str]) -> None:
    with server((64, _HARD), *command) as running:
        soft, hard = resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard > 64


def test_run_raises_its_own_limit_but_not_that_of_its_command() -> None:
    program = (
        "import os, resource;"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0],"
        " resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)[0])"
    )
    with ForkedProcess("run", sys.executable, "-c", program, limits=(64, _HARD)) as process:
        own, of_run = process.communicate(PATIENCE)[0].split()
    assert int(own) == 64
    assert int(of_run) == _HARD


def test_who_comes_beyond_the_limit_is_refused_at_once() -> None:
    with server((40, 40), "serve") as running, contextlib.ExitStack() as clients:
        greetings = []
        for _ in range(60):
            address = "127.0.0.1", running.port
            client = clients.enter_context(socket.create_connection(address, PATIENCE))
            # It waits for each: none hangs, and those before it are still there.
            greetings.append(client.makefile("rb").readline())
        served = [each for each in greetings if each.startswith(b"* ESPS/1 ")]
        assert len(served) > 10
        assert greetings[len(served) :] == [b"* BYE busy\n"] * (60 - len(served))
        assert len(served) < 40


@pytest.mark.parametrize(
    "command",
    [
        ["run", "true"],
        ["serve", "--port", "0"],
        ["serve", "--port", "0", "--control", "0"],
        ["proxy", "--upstream", "tcp://127.0.0.1:9", "--port", "0"],
        ["peer", "--framing", "lines", "--port", "0"],
        ["ping", "-c", "1", "127.0.0.1:9"],
        ["call", "echo", "--url", "esps+udp://127.0.0.1:9"],
    ],
    ids=" ".join,
)
def test_too_few_descriptors_are_one_line(command: list[str]) -> None:
    """Wherever it is that the last one is missing: in a signal's socket, a poll, a port, a pipe."""
    seen = set()
    for limit in range(5, 24):
        with ForkedProcess(*command, limits=(limit, limit)) as process:
            assert process.stdout is not None
            if process.stdout.readline() and command[0] in {"serve", "proxy", "peer"}:
                process.terminate()  # the others end by themselves, maybe with an error
            _, log = process.communicate(PATIENCE)
        assert "Traceback" not in log
        if "too many open files" not in log.lower():
            break  # it has all that it needs
        assert process.returncode == 1
        assert len(log.splitlines()) == 1
        assert log.startswith("esps-portal: ")
        seen.add(log)
    else:
        pytest.fail("it needs more")
    assert seen
