from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from esps_portal.inspection import sockets, tool_tables
from esps_portal.inspection.sockets import OpenSocket, SocketScan, scan
from tests.inspection.servers import LOOPBACK, WILDCARD, bound, free_port
from tests.patience import until

KINDS = {socket.SOCK_STREAM: ("tcp", "LISTEN"), socket.SOCK_DGRAM: ("udp", "UNCONN")}

kinds = pytest.mark.parametrize("kind", list(KINDS), ids=lambda k: KINDS[k][0])
families = pytest.mark.parametrize("family", list(LOOPBACK), ids=lambda f: f.name)


def ours(port: int) -> list[OpenSocket]:
    return [each for each in scan(port).sockets if each.pid == os.getpid()]


@kinds
@families
@pytest.mark.parametrize("hosts", [LOOPBACK, WILDCARD], ids=["loopback", "wildcard"])
def test_a_socket_of_this_process(
    kind: socket.SocketKind, family: socket.AddressFamily, hosts: dict[int, str]
) -> None:
    with bound(kind, family, hosts[family]) as (bare, port):
        (found,) = ours(port)
        transport, state = KINDS[kind]
        assert found == OpenSocket(
            transport=transport,
            family="IPv4" if family == socket.AF_INET else "IPv6",
            host=hosts[family],
            port=port,
            state=state,
            pid=os.getpid(),
            fd=bare.fileno(),
            program=psutil.Process().name(),
            command=tuple(psutil.Process().cmdline()),
            user=psutil.Process().username(),
        )


def test_an_unused_port() -> None:
    assert scan(free_port()) == SocketScan((), {}, ())


def test_accepted_connections_are_counted() -> None:
    with bound(socket.SOCK_STREAM) as (listener, port), contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.enter_context(listener.accept()[0])
        seen = scan(port)
        assert seen.connections["ESTABLISHED"] == 3
        assert [each.state for each in seen.sockets if each.pid == os.getpid()] == ["LISTEN"]


def test_connections_without_a_listener_use_the_port() -> None:
    with bound(socket.SOCK_STREAM) as (listener, port):
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        listener.close()
        with client, accepted:
            assert [each.state for each in ours(port)] == ["ESTAB"]


def test_a_connected_udp_socket() -> None:
    with bound(socket.SOCK_DGRAM) as (one, port), bound(socket.SOCK_DGRAM) as (_, other):
        one.connect(("127.0.0.1", other))
        assert [each.state for each in ours(port)] == ["ESTAB"]


@pytest.fixture
def child() -> Iterator[Callable[[socket.socket], subprocess.Popen[bytes]]]:
    """Start a process that inherits our socket, and waits."""
    started = []

    def start(shared: socket.socket) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"],
            stdin=subprocess.PIPE,
            pass_fds=[shared.fileno()],
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def test_every_process_that_shares_the_socket_is_named(
    child: Callable[[socket.socket], subprocess.Popen[bytes]],
) -> None:
    with bound(socket.SOCK_STREAM) as (listener, port):
        processes = {os.getpid(), child(listener).pid, child(listener).pid}
        sharing = [each for each in scan(port).sockets if each.host == "127.0.0.1"]
        assert {each.pid for each in sharing} == processes


# ---- what is hidden -----------------------------------------------------------------------------


def entry(**changes: Any) -> SimpleNamespace:  # noqa: ANN401 - a row of psutil's table
    row = {
        "fd": -1,
        "family": socket.AF_INET,
        "type": socket.SOCK_STREAM,
        "laddr": SimpleNamespace(ip="127.0.0.1", port=2867),
        "raddr": (),
        "status": "LISTEN",
        "pid": None,
    }
    return SimpleNamespace(**row | changes)


@pytest.mark.parametrize(
    ("root", "says"), [(0, "outside this container"), (1000, "another user's")]
)
def test_a_hidden_process_is_reported(
    monkeypatch: pytest.MonkeyPatch, root: int, says: str
) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry()])
    monkeypatch.setattr(sockets, "socket_user", lambda *_: "somebody")
    monkeypatch.setattr(os, "geteuid", lambda: root)
    seen = scan(2867)
    assert seen.sockets == (
        OpenSocket("tcp", "IPv4", "127.0.0.1", 2867, "LISTEN", user="somebody"),
    )
    assert len(seen.hidden) == 1
    assert says in seen.hidden[0]
    assert ("sudo" in seen.hidden[0]) == (root != 0)


def test_a_system_without_sudo_has_administrators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry()])
    monkeypatch.delattr(os, "geteuid")
    (hidden,) = scan(2867).hidden
    assert "sudo" not in hidden
    assert "administrator" in hidden


@pytest.mark.parametrize(
    "error",
    [psutil.AccessDenied(), PermissionError(), RuntimeError(), KeyError("0D"), ValueError("0x")],
)
def test_without_the_table_each_process_is_asked(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(kind: str) -> None:
        raise error

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with bound(socket.SOCK_STREAM) as (_, port):
        assert [each.host for each in ours(port)] == ["127.0.0.1"]


def test_processes_that_may_not_be_asked_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    def gone(kind: str) -> None:
        raise psutil.NoSuchProcess(1)

    processes = [SimpleNamespace(net_connections=c) for c in (denied, gone, denied)]
    monkeypatch.setattr(psutil, "net_connections", denied)
    monkeypatch.setattr(psutil, "process_iter", lambda: processes)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (description,) = scan(2867).hidden
    assert description.startswith("the sockets of 2 processes")
    assert "sudo" in description


def test_a_machine_without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise FileNotFoundError("/proc")

    monkeypatch.setattr(psutil, "net_connections", missing)
    monkeypatch.setattr(psutil, "process_iter", missing)
    assert scan(2867) == SocketScan((), {}, ("all sockets and processes: /proc",))


def test_an_empty_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(**_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(psutil, "net_connections", stumble)
    monkeypatch.setattr(psutil, "process_iter", stumble)
    (hidden,) = scan(2867).hidden
    assert hidden == "all sockets and processes: this system shows no table of them"


def test_a_process_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry(pid=ended.pid, fd=3)])
    (found,) = scan(2867).sockets
    assert (found.pid, found.program, found.command) == (ended.pid, None, None)


def test_fields_that_are_hidden_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise psutil.AccessDenied

    for field in ("cmdline", "username", "net_connections"):
        monkeypatch.setattr(psutil.Process, field, denied)
    with bound(socket.SOCK_STREAM) as (_, port):
        (found,) = ours(port)
    assert found.program
    assert (found.command, found.user) == (None, None)


# ---- the system's tools -------------------------------------------------------------------------


def wild(address: str) -> str:
    return re.sub(r"^(\*|0\.0\.0\.0|\[::\]|::):(?=\d)", "*:", address)


def rows_of(program: str, port: int) -> list[tuple[str, ...]]:
    table = next(
        t for t in tool_tables.tool_tables(scan(port).sockets, port) if t.program == program
    )
    return list(table.rows[1:])


@pytest.fixture(params=[(k, f, h) for k in KINDS for f in LOOPBACK for h in (LOOPBACK, WILDCARD)])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    kind, family, hosts = request.param
    with bound(kind, family, hosts[family]) as (_, number):
        yield number


def printed(*command: str) -> list[list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def assert_agree(
    theirs: Callable[[], list[tuple[str, ...]]], mine: Callable[[], list[tuple[str, ...]]]
) -> None:
    """Either may miss a socket, or have one twice, while others open some: the kernel's tables."""
    rows: list[list[tuple[str, ...]]] = []

    def agree() -> bool:
        rows[:] = theirs(), mine()
        return bool(rows[0]) and rows[0] == rows[1]

    until(agree, lambda: str(rows))


# In each of these: another process may have the same number at another address.


def test_ss_agrees(tool: Callable[[str], str], port: int) -> None:
    own = f"pid={os.getpid()},"

    def theirs() -> list[tuple[str, ...]]:
        rows = printed(tool("ss"), "-H", "-lntup", f"sport = :{port}")
        found = [(net, state, wild(local), users) for net, state, _, _, local, _, users in rows]
        return [row for row in found if own in row[3]]

    def mine() -> list[tuple[str, ...]]:
        found = [(n, s, wild(loc), users) for n, s, loc, _, users in rows_of("ss", port)]
        return [row for row in found if own in row[3]]

    assert_agree(theirs, mine)


def test_lsof_agrees(tool: Callable[[str], str], port: int) -> None:
    own = str(os.getpid())

    def theirs() -> list[tuple[str, ...]]:
        _, *rows = printed(tool("lsof"), "-nP", "-a", "-p", own, "-i", f":{port}")
        return [(*row[:5], row[7], " ".join(row[8:])) for row in rows]

    def mine() -> list[tuple[str, ...]]:
        return [row for row in rows_of("lsof", port) if row[1] == own]

    assert_agree(theirs, mine)


def test_netstat_agrees(tool: Callable[[str], str], port: int) -> None:
    own = f"{os.getpid()}/"

    def theirs() -> list[tuple[str, ...]]:
        rows = [r for r in printed(tool("netstat"), "-lntup") if r[3:]]
        on_port = [(*r[:5], " ".join(r[5:])) for r in rows if r[3].endswith(f":{port}")]
        # The state, without the name of the program, which it may truncate.
        return [(r[0], r[3], r[4], r[5].partition(own)[0].strip()) for r in on_port if own in r[5]]

    def mine() -> list[tuple[str, ...]]:
        return [(p, a, f, s.strip()) for p, a, f, s, who in rows_of("netstat", port) if own in who]

    assert_agree(theirs, mine)
