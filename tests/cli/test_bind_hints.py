"""An address that cannot be bound: one line that says what to do."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from esps_portal.inspection.bind_hints import BindOptions, bind_hint
from esps_portal.net.bind import CannotBindError, bind
from tests.commands import start
from tests.processes import running_server

COVERED = (
    "cannot listen on 127.0.0.1 port 0 (tcp and udp): 0.0.0.0 takes what comes for it already;"
    " remove --host 127.0.0.1"
)


def bind_error(*hosts: str, port: int = 0, tcp: bool = True, udp: bool = True) -> str:
    """Bind, which fails, and return the message with its hint."""
    with pytest.raises(CannotBindError) as raised:
        bind(hosts, port, tcp=tcp, udp=udp).close()
    return f"{raised.value}{bind_hint(raised.value, BindOptions())}"


def test_an_address_that_a_wildcard_covers() -> None:
    assert bind_error("127.0.0.1", "0.0.0.0") == COVERED
    assert bind_error("::", "::1").endswith(":: takes what comes for it already; remove --host ::1")


def test_an_address_of_another_machine() -> None:
    assert "; the addresses of this machine are 127.0.0.1, " in bind_error("192.0.2.77")  # RFC 5737


def test_an_unknown_host_name() -> None:
    assert bind_error("nowhere.invalid").endswith("; use another --host")


def test_a_port_in_the_host() -> None:
    assert bind_error("127.0.0.1:3").endswith("; write --host 127.0.0.1 and --port 3")


@pytest.mark.parametrize("command", [["serve"], ["proxy", "--upstream", "esps://127.0.0.1:1"]])
def test_the_command_says_it_in_one_line(command: list[str]) -> None:
    options = ["--host", "127.0.0.1", "--host", "0.0.0.0", "--port", "0"]
    with start(*command, *options) as process:
        assert process.communicate(timeout=60) == ("", f"esps-portal: {COVERED}\n")
    assert process.returncode == 1


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_port_in_use_names_the_process(kind: socket.SocketKind, host: str) -> None:
    with socket.socket(socket.AF_INET, kind) as first, socket.socket(socket.AF_INET, kind) as other:
        first.bind((host, 0))
        port = first.getsockname()[1]
        if host == "127.0.0.1":
            other.bind(("127.0.0.2", port))  # it does not conflict
        is_tcp = kind == socket.SOCK_STREAM
        if is_tcp:
            first.listen()
        # Another process may use the port with the other transport.
        line = bind_error("127.0.0.1", port=port, tcp=is_tcp, udp=not is_tcp)
    transport = "tcp" if is_tcp else "udp"
    assert line.startswith(f"cannot listen on 127.0.0.1 port {port} ({transport})")
    assert line.endswith(f" (pid {os.getpid()}); try another --port, or --port 0")
    assert line.count("pid") == 1


def test_a_port_without_the_right_to_it() -> None:
    cause = PermissionError(errno.EACCES, "Permission denied")
    hint = bind_hint(CannotBindError(cause, "127.0.0.1", 80, "tcp"), BindOptions())
    assert hint == "; that port needs root, or CAP_NET_BIND_SERVICE; try --port 2867"


def test_the_addresses_are_printed_with_a_note_on_ipv4() -> None:
    with running_server("--host", "::", json_lines=False) as running:
        assert running.stop() == 0
        lines = [*running.lines, *running.output]
    assert lines[2:] == [
        ":: accepts IPv6 only; for IPv4 add --host 0.0.0.0.\n",
        "Press Ctrl-C to stop.\n",
    ]
    with running_server("--host", "::", "--host", "0.0.0.0", json_lines=False) as running:
        assert running.stop() == 0
        lines = [*running.lines, *running.output]
    assert lines[4:] == ["Press Ctrl-C to stop.\n"]
