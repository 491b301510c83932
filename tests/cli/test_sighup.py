"""SIGHUP: shutdown with a terminal, reload without one, ignored under nohup."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from esps_portal import blocking
from esps_portal.protocol.errors import ReplyError
from tests.commands import COMMAND
from tests.forked import ForkedProcess
from tests.processes import RunningServer


@contextlib.contextmanager
def daemon(*options: str, nohup: bool = False) -> Iterator[RunningServer]:
    """Run a portal in a session of its own, without a terminal."""
    line = ["serve", "--port", "0", "--json", "--no-access-log", *options]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(
            ["nohup", COMMAND, *line], stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        if nohup
        else ForkedProcess(*line, new_session=True)
    ) as process:
        try:
            assert process.stdout is not None
            yield RunningServer(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


def hang_up(running: RunningServer) -> dict[str, Any]:
    """Send SIGHUP, and return the event "reloaded"."""
    running.process.send_signal(signal.SIGHUP)
    found: dict[str, Any] = json.loads(running.output.readline())
    assert found.pop("event") == "reloaded"
    return found


def log_of(running: RunningServer) -> list[str]:
    """End it, and return the log without its times."""
    return [line.split(" ", 2)[2] for line in running.stop_and_read_log()]


# ---- with a terminal ---------------------------------------------------------------------------


def test_a_closed_terminal_shuts_it_down_gracefully() -> None:
    leader, follower = pty.openpty()

    def take_the_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        [COMMAND, "serve", "--port", "0", "--json"],
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        start_new_session=True,
        preexec_fn=take_the_terminal,  # noqa: PLW1509 - the test has no threads
    ) as process:
        os.close(follower)
        assert process.stdout is not None
        running = RunningServer(process, json.loads(process.stdout.readline()))
        peer = socket.create_connection(("127.0.0.1", running.port), timeout=30)
        with peer, peer.makefile("rb") as lines:
            lines.readline()
            peer.sendall(b"a CALL delay 300 done\nb PING\n")
            assert lines.readline() == b"b OK\n"
            os.close(leader)
            assert lines.readline() == b"* BYE closing\n"
            process.send_signal(signal.SIGHUP)  # as a shell repeats it to its jobs
            assert lines.readline() == b"a OK done\n"
        assert process.wait(30) == 0


# ---- without a terminal ------------------------------------------------------------------------


def prices(portal: blocking.BlockingClient) -> list[str]:
    found = []
    for service in ("price", "other", "echo"):
        try:
            found.append(portal.call(service)[0].decode())
        except ReplyError as error:
            found.append(error.code)
        except IndexError:
            found.append("")
    return found


def test_a_scenario_is_read_again_and_connections_stay(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('stubs = [{service = "price", reply = "1"}]')
    with daemon("--scenario", str(path)) as running:
        with blocking.connect(running.url) as portal:
            assert prices(portal) == ["1", "unknown-service", ""]
            path.write_text('stubs = [{service = "other", reply = "2"}]')
            assert hang_up(running) == {"error": None}
            assert prices(portal) == ["unknown-service", "2", ""]
        assert log_of(running) == [
            f"INFO esps_portal: SIGHUP: reloaded {path}",
            "INFO esps_portal: SIGTERM: closing",
        ]


BAD = [
    ("stubs = [{}]", "stubs[0].service: this key is required"),
    ("stubs = [\x1b[2J", "not TOML: "),
    ("limits = {max-line = 600}", "limits.max_line: a portal gets its limits when it starts"),
    ('limits = {max-line = 512}\nstubs = [{service = "a", reply = "%s"}]' % ("x" * 600), "512"),
    ("", "limits cannot change after the portal has started"),
    (None, "No such file or directory"),
]


def test_a_bad_scenario_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('limits = {max-line = 512}\nstubs = [{service = "price", reply = "1"}]')
    errors = []
    with daemon("--scenario", str(path), "--fault", "reset service=other") as running:
        for text, says in BAD:
            if text is None:
                path.unlink()
            else:
                path.write_text(text)
            error = hang_up(running)["error"]
            assert error.startswith(f"{path}: ")
            assert says in error
            errors.append(error)
            with blocking.connect(running.url) as portal:
                assert portal.call("price") == (b"1",)
        *lines, _ = log_of(running)
    assert lines == [f"ERROR esps_portal: SIGHUP: not reloaded: {error}" for error in errors]
    assert all(line.isprintable() for line in lines)


def test_a_scenario_from_a_pipe_cannot_be_reloaded(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with (
        subprocess.Popen(["sh", "-c", f'echo "stubs = []" > {path}']),
        daemon("--scenario", str(path)) as running,
    ):
        assert hang_up(running)["error"] == f"{path}: a pipe cannot be read again"


def test_a_renamed_recording_is_created_again(tmp_path: Path) -> None:
    path, old = tmp_path / "calls.jsonl", tmp_path / "calls.jsonl.1"
    with daemon("--record", str(path)) as running, blocking.connect(running.url) as portal:
        portal.call("echo", "before")
        path.rename(old)
        assert hang_up(running) == {"error": None}
        portal.call("echo", "after")
        assert ("before" in old.read_text(), "after" in old.read_text()) == (True, False)
        assert ("before" in path.read_text(), "after" in path.read_text()) == (False, True)
        path.rename(old)
        path.mkdir()
        assert hang_up(running) == {"error": f"cannot record to {path}: Is a directory"}
        portal.call("echo", "later")
        assert "later" in old.read_text()


def test_a_replay_is_read_again(tmp_path: Path) -> None:
    paths = tmp_path / "calls.jsonl", tmp_path / "others.jsonl"
    with daemon("--record", str(paths[0])) as running, blocking.connect(running.url) as portal:
        assert portal.call("echo", "hi") == (b"hi",)
    paths[1].write_text(paths[0].read_text().replace("OK hi", "OK ho"))
    with daemon("--replay", str(paths[0])) as running, blocking.connect(running.url) as portal:
        assert portal.call("echo", "hi") == (b"hi",)
        paths[1].rename(paths[0])
        assert hang_up(running) == {"error": None}
        assert portal.call("echo", "hi") == (b"ho",)


def test_nothing_to_reload() -> None:
    with daemon() as running:
        running.process.send_signal(signal.SIGHUP)
        with blocking.connect(running.url) as portal:
            portal.ping()
        line, _ = log_of(running)
    assert line == ("INFO esps_portal: SIGHUP: nothing to reload: no file was given")


def test_a_service_manager_is_notified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify_socket:
        notify_socket.settimeout(30)
        notify_socket.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with daemon() as running:
            running.process.send_signal(signal.SIGHUP)
            first, second, third = (notify_socket.recv(100) for _ in range(3))
    assert (first, third) == (b"READY=1", b"READY=1")
    assert second.startswith(b"RELOADING=1\nMONOTONIC_USEC=")


# ---- under nohup -------------------------------------------------------------------------------


def test_under_nohup_it_is_ignored(tmp_path: Path) -> None:
    with daemon(nohup=True) as running:
        running.process.send_signal(signal.SIGHUP)
        with blocking.connect(running.url) as portal:
            portal.ping()
        assert not [line for line in log_of(running) if "SIGHUP" in line]
