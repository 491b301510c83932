"""``esps-portal serve``: where it listens, and how signals end it."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest

from tests.commands import COMMAND, run
from tests.processes import running_server


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_calls_end_and_exits_0(number: int) -> None:
    with running_server() as running:
        peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with peer, peer.makefile("rb") as lines:
            assert lines.readline().startswith(b"* ESPS/1 ")
            peer.sendall(b"a CALL delay 300 done\nb PING\n")
            assert lines.readline() == b"b OK\n"
            running.process.send_signal(number)
            # In this order, unless the signal takes 300 ms to arrive.
            assert sorted(lines) == [b"* BYE closing\n", b"a OK done\n"]
        assert running.process.wait(30) == 0
        assert json.loads(running.output.readlines()[-1]) == {"event": "stopped"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(number: int) -> None:
    with running_server("--log-level", "info") as running:
        peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with peer, peer.makefile("rb") as lines:
            lines.readline()
            peer.sendall(b"a CALL stall\nb PING\n")
            lines.readline()
            running.process.send_signal(number)
            assert lines.readline() == b"* BYE closing\n"
            running.process.send_signal(number)
            assert running.process.wait(30) == 128 + number
            with pytest.raises(ConnectionResetError):  # ESPS-END-15
                lines.readline()


def test_the_addresses_are_in_the_event_ready() -> None:
    with running_server("--host", "127.0.0.1", "--host", "::1") as running:
        assert running.ready["event"] == "ready"
        assert running.ready["tcp"] == running.ready["udp"]
        assert running.ready["tcp"] == [["127.0.0.1", running.port], ["::1", running.port]]
        assert running.ready["control"] is None
        assert running.ready["pid"] == running.process.pid


@pytest.mark.parametrize(("option", "left"), [("--no-udp", "tcp"), ("--no-tcp", "udp")])
def test_one_transport_only(option: str, left: str) -> None:
    with running_server(option) as running:
        assert [key for key in ("tcp", "udp") if running.ready[key]] == [left]


def test_a_port_in_use_names_the_process() -> None:
    with running_server() as portal:
        code, _, err = run("serve", "--port", str(portal.port))
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("esps-portal: cannot listen on 127.0.0.1 port ")
    assert f"(pid {portal.process.pid})" in err


def test_an_address_that_is_not_ours() -> None:
    code, _, err = run("serve", "--host", "192.0.2.1", "--port", "0")
    assert (code, err.count("\n")) == (1, 1)


def test_a_terminal_gets_the_address_at_once() -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen([COMMAND, "serve", "--port", "0"], stdout=follower) as serving:
        os.close(follower)
        with os.fdopen(leader, "rb") as screen:
            assert screen.readline().startswith(b"listening on 127.0.0.1 port ")
            serving.send_signal(signal.SIGINT)
            assert serving.wait(30) == 0


def test_the_garbage_collector_leaves_out_what_was_there_before_it_serves() -> None:
    """Otherwise it looks at all modules each time, and serves nobody meanwhile."""
    program = """
import gc
import esps_portal.cli as cli
import esps_portal.cli.server_runner as runner

async def handle(*_):
    print("serving:", gc.isenabled(), gc.get_freeze_count() > len(gc.get_objects()))
    return 2

runner.print_ready = lambda *_, **__: print("starting:", gc.isenabled())
runner._handle_signals = handle
try:
    cli.main(["serve", "--port", "0"])
except SystemExit:
    print("at the end:", gc.isenabled())
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.stdout == "starting: False\nserving: True True\nat the end: True\n", ran.stderr
