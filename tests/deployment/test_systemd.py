"""The units of systemd: checked by its own tools, and run through its own socket activation."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal import blocking
from esps_portal.deployment.kinds import KINDS
from tests.certificates import Certificates
from tests.commands import COMMAND, run
from tests.processes import running_server

KIND = KINDS["systemd"]
PATH_IN_UNITS = "/opt/esps-portal/bin/esps-portal"
# Tenths, out of 100. What is left: it talks to the network, to systemd, and has the host's root.
MAX_EXPOSURE = 12


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Return a folder with the units, whose command is the one that is installed here."""
    for file in KIND.files:
        text = KIND.read(file)
        (tmp_path / file).write_text(text.replace(PATH_IN_UNITS, COMMAND), encoding="utf-8")
    return tmp_path


def directives(file: str) -> list[str]:
    lines = KIND.read(file).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.heavy
def test_systemd_accepts_the_units(units: Path, tool: Callable[[str], str]) -> None:
    names = [str(units / file) for file in KIND.files if file.endswith((".service", ".socket"))]
    instance = units / "esps-portal@2868.service"
    instance.symlink_to(units / "esps-portal@.service")
    command = [tool("systemd-analyze"), "verify", "--man=no", *names, str(instance)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    # It warns of an unknown directive, or of a command that is not there, and exits with 0.
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.heavy
def test_systemd_accepts_the_service_with_tls(units: Path, tool: Callable[[str], str]) -> None:
    folder = units / "esps-portal.service.d"
    folder.mkdir()
    (units / "esps-portal-tls.conf").rename(folder / "tls.conf")
    command = [tool("systemd-analyze"), "verify", "--man=no", str(units / "esps-portal.service")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_with_tls_it_serves_its_certificate(certificates: Certificates, tmp_path: Path) -> None:
    *_, start = directives("esps-portal-tls.conf")
    shutil.copy(certificates.portal.cert, tmp_path / "cert.pem")
    shutil.copy(certificates.portal.key, tmp_path / "key.pem")
    _, _, *options = executed(start.replace("/etc/esps-portal", str(tmp_path)), "")
    with running_server(*options) as running:
        url = f"esps+tls://127.0.0.1:{running.port}"
        trusted = ["--cafile", certificates.ca]
        assert run("call", "--url", url, *trusted, "echo", "hi") == (0, "hi\n", "")


@pytest.mark.heavy
@pytest.mark.parametrize("file", ["esps-portal.service", "esps-portal@.service"])
def test_a_service_is_hardened(units: Path, tool: Callable[[str], str], file: str) -> None:
    checked = [tool("systemd-analyze"), "security", "--offline=true", "--no-pager"]
    command = [*checked, f"--threshold={MAX_EXPOSURE}", str(units / file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_template_is_the_service_but_for_its_port() -> None:
    differing = {
        line.replace("-%i", "").replace("--port %i ", "")
        for line in directives("esps-portal@.service")
    }
    assert differing ^ set(directives("esps-portal.service")) == {
        "Description=Portal of ESPS/1 (TCP and UDP port %i)",
        "Description=Portal of ESPS/1 (TCP and UDP port 2867)",
        "Documentation=man:systemd.socket(5)",
    }


def command_of_service(options: str = "") -> list[str]:
    """Return what the service executes, with these options in its environment file."""
    (line,) = (line for line in directives("esps-portal.service") if line.startswith("ExecStart="))
    return executed(line, options)


def executed(line: str, options: str) -> list[str]:
    """Return what a line of a unit executes, with the options of its environment file."""
    words = line.removeprefix("ExecStart=").replace(PATH_IN_UNITS, COMMAND).split()
    return [w for word in words for w in (options.split() if word.startswith("$") else [word])]


def test_the_options_of_the_example_are_accepted() -> None:
    text = KIND.read("esps-portal.default")
    (options,) = re.findall(r"(?m)^ESPS_PORTAL_OPTIONS=(.+)$", text)
    ran = subprocess.run(
        [*command_of_service(options), "--help"], capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr


# ---- as systemd runs it ------------------------------------------------------------------------

# Hands over descriptors as systemd does, to systemd-socket-activate, which passes them on.
HAND_OVER = """
import os, sys
for index, source in enumerate([os.dup2(int(fd), 100 + int(fd)) for fd in sys.argv[1].split(",")]):
    os.dup2(source, 3 + index)
    os.close(source)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(sys.argv[1].count(",") + 1)}
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[socket.socket]:
    """Return the socket that a service manager listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.bind(str(tmp_path / "notify"))
        yield sock


def states(notifications: socket.socket) -> Iterator[str]:
    """Yield each state that is notified, without the signs of life."""
    while True:
        state = notifications.recv(200).decode()
        if state != "WATCHDOG=1":
            yield state


def test_the_service_is_activated_reloads_and_stops(
    tool: Callable[[str], str], notifications: socket.socket, tmp_path: Path
) -> None:
    scenario = tmp_path / "scenario.toml"
    scenario.write_text('[[stubs]]\nservice = "price"\nreply = ["1"]\n')
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        port = tcp.getsockname()[1]
        udp.bind(("127.0.0.1", 0))
        descriptors = [tcp.fileno(), udp.fileno()]
        environment = f"--setenv=NOTIFY_SOCKET={tmp_path / 'notify'}"
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", HAND_OVER, ",".join(map(str, descriptors))),
                *(tool("systemd-socket-activate"), environment),
                *command_of_service(f"--json --scenario {scenario}"),
            ],
            pass_fds=descriptors,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        told = states(notifications)
        with process:
            try:
                # Nothing runs until this: the kernel queues the connection.
                with blocking.connect(f"esps://127.0.0.1:{port}", timeout=30) as client:
                    assert client.call("price") == (b"1",)
                    assert next(told) == "READY=1"
                    assert process.stdout is not None
                    ready = json.loads(process.stdout.readline())
                    assert ready["tcp"] == [["127.0.0.1", port]]
                    assert ready["udp"] == [list(udp.getsockname())]
                    assert ready["pid"] == process.pid, "systemd's MAINPID"
                    scenario.write_text('[[stubs]]\nservice = "price"\nreply = ["2"]\n')
                    process.send_signal(signal.SIGHUP)  # as ExecReload does
                    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", next(told))
                    assert next(told) == "READY=1"
                    assert client.call("price") == (b"2",)
                udp_url = f"esps+udp://127.0.0.1:{udp.getsockname()[1]}"
                with blocking.connect(udp_url) as client:
                    assert client.call("price") == (b"2",)
                process.send_signal(signal.SIGTERM)
                assert next(told) == "STOPPING=1"
                assert process.wait(30) == 0
            finally:
                process.kill()


def test_the_watchdog_is_fed_while_the_service_runs(
    notifications: socket.socket, tmp_path: Path
) -> None:
    manager = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "40000"}
    with subprocess.Popen(
        [*command_of_service("--port 0")],
        env={**os.environ, **manager},
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            assert notifications.recv(200) == b"READY=1"
            for _ in range(3):
                assert notifications.recv(200) == b"WATCHDOG=1"
        finally:
            process.terminate()
        assert process.wait(30) == 0
