"""The configurations of HAProxy: valid, and used before two real portals."""

from __future__ import annotations

import contextlib
import csv
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from esps_portal import blocking
from esps_portal.deployment.kinds import KINDS
from tests.patience import until
from tests.processes import RunningServer, running_server

KIND = KINDS["haproxy"]
PLAIN, PROXY_V2 = KIND.files


@attrs.frozen
class Balanced:
    """HAProxy before two portals."""

    port: int
    portals: list[RunningServer]
    stats: Path

    @property
    def url(self) -> str:
        return f"esps://127.0.0.1:{self.port}"

    def checks(self) -> list[str]:
        """Return the status of each portal, and the result of its last check."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(str(self.stats))
            sock.sendall(b"show stat\n")
            with sock.makefile(encoding="ascii") as answer:
                rows = list(csv.DictReader(answer.read().removeprefix("# ").splitlines()))
        servers = [row for row in rows if row["svname"].startswith("portal")]
        return [f"{row['status']} {row['check_status']}" for row in servers]

    def wait_for_checks(self, *expected: str) -> None:
        """Return when the checks have found this."""
        until(lambda: self.checks() == list(expected), self.checks)


def metrics_port(portal: RunningServer) -> str:
    found = re.search(r":(\d+)/", str(portal.ready["metrics"]).removeprefix("http:"))
    assert found
    return found[1]


@contextlib.contextmanager
def balanced(haproxy: str, folder: Path, file: str = PLAIN, *options: str) -> Iterator[Balanced]:
    """Run HAProxy with a file as it is shipped, but for addresses and the time between checks."""
    with contextlib.ExitStack() as stack:
        options = ("--metrics", "0", "--access-log", *options)
        portals = [stack.enter_context(running_server(*options)) for _ in range(2)]
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        text = KIND.read(file).replace("bind :2867", f"bind fd@{listener.fileno()}")
        text = text.replace("inter 2s", "inter 50ms")
        for number, portal in enumerate(portals, 1):
            shipped = f"portal{number} 192.0.2.{10 + number}:2867 port 9867"
            assert shipped in text
            here = f"portal{number} 127.0.0.1:{portal.port} port {metrics_port(portal)}"
            text = text.replace(shipped, here)
        config, stats = folder / "haproxy.cfg", folder / "stats"
        config.write_text(f"global\n    stats socket {stats}\n{text}", encoding="utf-8")
        process = subprocess.Popen(
            [haproxy, "-db", "-f", str(config)],
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                running = Balanced(listener.getsockname()[1], portals, stats)
                # The kernel has queued it until HAProxy runs; then the socket is there.
                with blocking.connect(running.url, timeout=30) as client:
                    client.ping()
                running.wait_for_checks("UP L7OK", "UP L7OK")
                yield running
            finally:
                process.kill()


@pytest.mark.heavy
@pytest.mark.parametrize("file", KIND.files)
def test_haproxy_accepts_it(file: str, tool: Callable[[str], str], tmp_path: Path) -> None:
    path = tmp_path / file
    path.write_text(KIND.read(file), encoding="utf-8")
    # -dW: a warning is an error.
    command = [tool("haproxy"), "-c", "-dW", "-f", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_files_differ_in_how_they_connect_alone() -> None:
    lines = [
        [line for line in KIND.read(file).splitlines() if not line.lstrip().startswith("#")]
        for file in KIND.files
    ]
    assert [line.removesuffix(" send-proxy-v2") for line in lines[1]] == lines[0]
    assert sum(line.endswith(" send-proxy-v2") for line in lines[1]) == 2


def log_of(portal: RunningServer) -> list[str]:
    """End a portal, and return what its access log has, without times and ports.

    A client says HELLO where a greeting is late, as on a busy machine.
    """
    lines = [line for line in portal.stop_and_read_log() if not re.search(" INFO | HELLO ", line)]
    return [re.sub(r"^.{19} |:\d+|[\d.]+ ms", "", line).strip() for line in lines]


@pytest.mark.heavy
def test_both_portals_are_used_and_checks_leave_no_trace(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    with balanced(tool("haproxy"), tmp_path) as running:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(blocking.connect(running.url)) for _ in range(4)]
            for client in clients:
                assert client.call("echo", "hi") == (b"hi",)
            ids = {dict(pair.split(b"=") for pair in c.call("stats"))[b"pid"] for c in clients}
        assert len(ids) == 2
        logs = [log_of(portal) for portal in running.portals]
    # A client says QUIT and does not wait: it may come after the signal.
    lines = sorted(line for log in logs for line in log if "QUIT" not in line)
    calls = ["CALL echo hi", "CALL stats"] * 4
    assert lines == sorted(f"127.0.0.1 tcp {what} -> OK" for what in ["PING", *calls])


@pytest.mark.heavy
def test_where_one_is_killed_the_other_serves(tool: Callable[[str], str], tmp_path: Path) -> None:
    with balanced(tool("haproxy"), tmp_path) as running:
        first, second = running.portals
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(30)
        for _ in range(4):  # some before a check has noticed it
            with blocking.connect(running.url) as client:
                assert client.call("echo", "hi") == (b"hi",)
        running.wait_for_checks("DOWN L4CON", "UP L7OK")
        assert len(log_of(second)) >= 4 * 2


@pytest.mark.heavy
def test_one_that_closes_gets_no_more_connections_and_ends_its_calls(
    tool: Callable[[str], str], tmp_path: Path
) -> None:
    with balanced(tool("haproxy"), tmp_path) as running, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(blocking.connect(running.url)) for _ in range(2)]
        calls = [stack.enter_context(client.stream("drip", "3", "300")) for client in clients]
        lines = [next(iter(call)) for call in calls]  # each runs
        running.portals[0].process.send_signal(signal.SIGTERM)
        running.wait_for_checks("DOWN L7STS", "UP L7OK")
        with blocking.connect(running.url) as client:
            assert client.call("echo", "hi") == (b"hi",)
        assert all(lines)
        assert [len(list(call)) for call in calls] == [2, 2], "to its end, on either"


@pytest.mark.heavy
@pytest.mark.parametrize("file", KIND.files)
def test_whose_address_a_portal_sees(file: str, tool: Callable[[str], str], tmp_path: Path) -> None:
    options = ["--proxy-protocol"] if file == PROXY_V2 else []
    with (
        balanced(tool("haproxy"), tmp_path, file, *options) as running,
        socket.create_connection(("127.0.0.1", running.port), 30, ("127.0.0.2", 0)) as client,
        client.makefile("rb") as replies,
    ):
        client.sendall(b"a CALL whoami\n")
        assert replies.readline().startswith(b"* ESPS/1 ")
        host, port = client.getsockname()
        seen = replies.readline().decode()
        assert (seen == f"a OK {host} {port} tcp\n") == (file == PROXY_V2)
        client.shutdown(socket.SHUT_WR)
        assert replies.read() == b""
        logs = [log_of(portal) for portal in running.portals]
    address = host if file == PROXY_V2 else "127.0.0.1"
    lines = [line for log in logs for line in log if "PING" not in line and "QUIT" not in line]
    assert lines == [f"{address} tcp CALL whoami -> OK"], "checks leave no trace"
