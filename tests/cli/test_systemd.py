"""Started by systemd: inherited sockets, and notifications of readiness and shutdown."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from esps_portal import blocking
from esps_portal.net.systemd import feed_watchdog, inherited_sockets, watchdog_seconds

# What systemd does between fork and exec: it duplicates the sockets to descriptors 3, 4, ... and
# sets LISTEN_PID to the process that gets them.
MANAGER = """
import os, sys
sources = [int(word) for word in sys.argv[1].split(",")]
# To high numbers first: a source may be descriptor 3 or 4.
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


def test_inherited_sockets_are_served(tmp_path: Path) -> None:
    notify_socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify_socket.settimeout(30)
    notify_socket.bind(str(tmp_path / "notify"))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    with notify_socket, udp, socket.create_server(("127.0.0.1", 0)) as tcp:
        process = start(tcp, udp, environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        with process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                assert ready["tcp"] == [list(tcp.getsockname())]
                assert ready["udp"] == [list(udp.getsockname())]
                assert notify_socket.recv(100) == b"READY=1"
                with blocking.connect(f"esps://127.0.0.1:{ready['tcp'][0][1]}") as portal:
                    assert portal.call("echo", "hi") == (b"hi",)
                with blocking.connect(f"esps+udp://127.0.0.1:{ready['udp'][0][1]}") as portal:
                    assert portal.call("echo", "hi") == (b"hi",)
                process.send_signal(signal.SIGTERM)
                assert notify_socket.recv(100) == b"STOPPING=1"
                assert process.wait(30) == 0
            finally:
                process.kill()


def test_a_dual_stack_socket_is_reported() -> None:
    both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with both, start(both, options=()) as process:
        port = both.getsockname()[1]
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(2)]
        finally:
            process.kill()
    assert lines == [f"listening on :: port {port} (TCP)\n", ":: accepts IPv4 as well.\n"]


def test_a_socket_that_cannot_be_served_is_one_line() -> None:
    with socket.socket() as deaf, start(deaf) as process:
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (1, "")
        assert err == (
            "esps-portal: cannot use the inherited sockets:"
            " descriptor 3 is neither a listening TCP socket nor a UDP one\n"
        )


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "\u00b2", "LISTEN_PID": str(os.getpid())},
        {"LISTEN_FDS": "-1", "LISTEN_PID": str(os.getpid())},
    ],
    ids=["none", "another process's", "no socket", "no number", "superscript", "negative"],
)
def test_variables_for_another_process_are_ignored(environment: dict[str, str]) -> None:
    assert inherited_sockets(environment) is None
    assert not environment, "or a child would use them"


# ---- the watchdog ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20),
        ({"WATCHDOG_USEC": "500", "WATCHDOG_PID": str(os.getpid())}, 0.0005),
        ({"WATCHDOG_USEC": "500", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "\u00b2"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
    ],
)
def test_how_often_a_sign_of_life_is_wanted(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_seconds(environment) == seconds
    assert not environment, "or a child would answer for the service"


async def test_a_loop_that_is_held_gives_no_sign_of_life(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed_watchdog, environment, 0.02)
            for _ in range(3):
                await trio.lowlevel.wait_readable(manager)
                assert manager.recv(100) == b"WATCHDOG=1"
            manager.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    manager.recv(100)
            manager.settimeout(0.2)
            with pytest.raises(TimeoutError):  # to wait here, outside of trio, holds the loop
                manager.recv(100)
            await trio.lowlevel.wait_readable(manager)
            nursery.cancel_scope.cancel()
