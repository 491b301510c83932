"""Started by a service manager: sockets handed over, readiness and the end told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from esps_portal import blocking
from esps_portal.net.systemd import inherited_sockets

# What systemd does between fork and exec: the sockets become descriptors 3 and on, and the
# variables name the process that is to have them.
MANAGER = """
import os, sys
sources = [int(word) for word in sys.argv[1].split(",")]
# Out of the way first: a source may itself be 3 or 4.
high = [os.dup2(fd, 100 + index) for index, fd in enumerate(sources)]
for index, fd in enumerate(high):
    os.dup2(fd, 3 + index)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(high))
os.execv(sys.executable, [sys.executable, "-m", "esps_portal", "serve", *sys.argv[2:]])
"""


def start(
    *sockets: socket.socket,
    environment: dict[str, str] | None = None,
    options: tuple[str, ...] = ("--json",),
) -> subprocess.Popen[str]:
    descriptors = [sock.fileno() for sock in sockets]
    return subprocess.Popen(
        [sys.executable, "-c", MANAGER, ",".join(map(str, descriptors)), *options],
        pass_fds=descriptors,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_sockets_that_are_handed_over_are_served(tmp_path: Path) -> None:
    told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    told.settimeout(30)
    told.bind(str(tmp_path / "notify"))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    with told, udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        process = start(tcp, udp, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                assert ready["tcp"] == [list(tcp.getsockname())]
                assert ready["udp"] == [list(udp.getsockname())]
                assert told.recv(100) == b"READY=1"
                with blocking.connect(f"esps://127.0.0.1:{ready['tcp'][0][1]}") as portal:
                    assert portal.call("echo", "hi") == (b"hi",)
                with blocking.connect(f"esps+udp://127.0.0.1:{ready['udp'][0][1]}") as portal:
                    assert portal.call("echo", "hi") == (b"hi",)
                process.send_signal(signal.SIGTERM)
                assert told.recv(100) == b"STOPPING=1"
                assert process.wait(30) == 0
            finally:
                process.kill()


def test_a_socket_that_takes_both_families_says_so() -> None:
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with both, start(both, options=()) as process:
        port = both.getsockname()[1]
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
        finally:
            process.kill()
    assert lines == [f"listening on :: port {port} (TCP)\n", ":: takes IPv4 as well.\n"]


def test_a_socket_that_cannot_be_served_is_one_line() -> None:
    with socket.socket() as deaf, start(deaf) as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (1, "")
        assert err == (
            "esps-portal: cannot serve on what was handed over:"
            " descriptor 3 is neither a listening TCP socket nor a UDP one\n"
        )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
    ],
    ids=["none", "another process's", "no socket", "no number"],
)
def test_what_was_not_meant_for_us_is_left(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) is None
    assert not environment, "a child would take them for its own"
