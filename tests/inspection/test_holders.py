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

from esps_portal.inspection import holders, tool_tables
from esps_portal.inspection.holders import Holder, scan
from tests.inspection.strangers import LOOPBACK, WILDCARD, bound, free_port

KINDS = {socket.SOCK_STREAM: ("tcp", "LISTEN"), socket.SOCK_DGRAM: ("udp", "UNCONN")}

kinds = pytest.mark.parametrize("kind", list(KINDS), ids=lambda k: KINDS[k][0])
families = pytest.mark.parametrize("family", list(LOOPBACK), ids=lambda f: f.name)


def ours(port: int) -> list[Holder]:
    return [holder for holder in scan(port).holders if holder.pid == os.getpid()]


@kinds
@families
@pytest.mark.parametrize("hosts", [LOOPBACK, WILDCARD], ids=["loopback", "wildcard"])
def test_a_socket_of_this_process(
    kind: socket.SocketKind, family: socket.AddressFamily, hosts: dict[int, str]
) -> None:
    with bound(kind, family, hosts[family]) as (bare, port):
        (holder,) = ours(port)
        transport, state = KINDS[kind]
        assert holder == Holder(
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


def test_a_port_that_nobody_has() -> None:
    assert scan(free_port()) == holders.SocketScan((), {}, ())


def test_accepted_connections_are_counted() -> None:
    with bound(socket.SOCK_STREAM) as (listener, port), contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.enter_context(listener.accept()[0])
        sight = scan(port)
        assert sight.connections["ESTABLISHED"] == 3
        assert [holder.state for holder in sight.holders] == ["LISTEN"]


def test_connections_without_a_listener_hold_the_port() -> None:
    with bound(socket.SOCK_STREAM) as (listener, port):
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = listener.accept()
        listener.close()
        with client, accepted:
            assert [holder.state for holder in ours(port)] == ["ESTAB"]


def test_a_connected_udp_socket() -> None:
    with bound(socket.SOCK_DGRAM) as (one, port), bound(socket.SOCK_DGRAM) as (_, other):
        one.connect(("127.0.0.1", other))
        assert [holder.state for holder in ours(port)] == ["ESTAB"]


@pytest.fixture
def child() -> Iterator[Callable[[socket.socket], subprocess.Popen[bytes]]]:
    """Start a process that has our socket too, and waits."""
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
        assert {holder.pid for holder in scan(port).holders} == processes


# ---- what may not be seen -----------------------------------------------------------------------


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
    ("root", "words"), [(0, "outside of this container"), (1000, "another user's")]
)
def test_a_process_out_of_sight_is_said(
    monkeypatch: pytest.MonkeyPatch, root: int, words: str
) -> None:
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry()])
    monkeypatch.setattr(holders, "owner", lambda *_: "somebody")
    monkeypatch.setattr(os, "geteuid", lambda: root)
    sight = scan(2867)
    assert sight.holders == (Holder("tcp", "IPv4", "127.0.0.1", 2867, "LISTEN", user="somebody"),)
    assert len(sight.unseen) == 1
    assert words in sight.unseen[0]
    assert ("sudo" in sight.unseen[0]) == (root != 0)


@pytest.mark.parametrize(
    "error", [psutil.AccessDenied(), PermissionError(), RuntimeError(), KeyError("0D")]
)
def test_without_the_table_each_process_is_asked(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(kind: str) -> None:
        raise error

    monkeypatch.setattr(psutil, "net_connections", refuse)
    with bound(socket.SOCK_STREAM) as (_, port):
        assert [holder.host for holder in ours(port)] == ["127.0.0.1"]


def test_processes_that_may_not_be_asked_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(kind: str) -> None:
        raise psutil.AccessDenied

    def gone(kind: str) -> None:
        raise psutil.NoSuchProcess(1)

    processes = [SimpleNamespace(net_connections=c) for c in (denied, gone, denied)]
    monkeypatch.setattr(psutil, "net_connections", denied)
    monkeypatch.setattr(psutil, "process_iter", lambda: processes)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (words,) = scan(2867).unseen
    assert words.startswith("the sockets of 2 processes")
    assert "sudo" in words


def test_a_machine_without_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise FileNotFoundError("/proc")

    monkeypatch.setattr(psutil, "net_connections", missing)
    monkeypatch.setattr(psutil, "process_iter", missing)
    assert scan(2867) == holders.SocketScan((), {}, ("any process at all: /proc",))


def test_a_process_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(psutil, "net_connections", lambda **_: [entry(pid=ended.pid, fd=3)])
    (holder,) = scan(2867).holders
    assert (holder.pid, holder.program, holder.command) == (ended.pid, None, None)


def test_fields_that_may_not_be_read_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise psutil.AccessDenied

    for field in ("cmdline", "username", "net_connections"):
        monkeypatch.setattr(psutil.Process, field, denied)
    with bound(socket.SOCK_STREAM) as (_, port):
        (holder,) = ours(port)
    assert holder.program
    assert (holder.command, holder.user) == (None, None)


# ---- what others see ----------------------------------------------------------------------------


def wild(address: str) -> str:
    return re.sub(r"^(\*|0\.0\.0\.0|\[::\]|::):(?=\d)", "*:", address)


def rows_of(program: str, port: int) -> list[tuple[str, ...]]:
    table = next(t for t in tool_tables.tables(scan(port).holders, port) if t.program == program)
    return list(table.rows[1:])


@pytest.fixture(params=[(k, f, h) for k in KINDS for f in LOOPBACK for h in (LOOPBACK, WILDCARD)])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    kind, family, hosts = request.param
    with bound(kind, family, hosts[family]) as (_, number):
        yield number


def printed(*command: str) -> list[list[str]]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


def test_ss_agrees(tool: Callable[[str], str], port: int) -> None:
    rows = printed(tool("ss"), "-H", "-lntup", f"sport = :{port}")
    theirs = [(net, state, wild(local), users) for net, state, _, _, local, _, users in rows]
    assert theirs == [(n, s, wild(loc), users) for n, s, loc, _, users in rows_of("ss", port)]


def test_lsof_agrees(tool: Callable[[str], str], port: int) -> None:
    _, *rows = printed(tool("lsof"), "-nP", "-a", "-p", str(os.getpid()), "-i", f":{port}")
    theirs = [(*row[:5], row[7], " ".join(row[8:])) for row in rows]
    assert theirs == rows_of("lsof", port)


def test_netstat_agrees(tool: Callable[[str], str], port: int) -> None:
    rows = [r for r in printed(tool("netstat"), "-lntup") if r[3:] and r[3].endswith(f":{port}")]
    theirs = [(r[0], r[3], r[4], " ".join(r[5:])) for r in rows]
    mine = [(p, a, f, f"{s} {who}".strip()) for p, a, f, s, who in rows_of("netstat", port)]
    assert [row[:3] for row in theirs] == [row[:3] for row in mine]
    # It cuts the program's name off, where it may.
    assert all(m[3].startswith(t[3]) for t, m in zip(theirs, mine, strict=True))
