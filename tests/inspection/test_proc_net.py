from __future__ import annotations

import os
import pwd
import socket
import sys
from pathlib import Path

import pytest

from esps_portal.inspection.proc_net import socket_user
from tests.inspection.servers import bound

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
ROW = "   0: 0100007F:0B33 00000000:0000 {state} 00000000:00000000 00:00000000 00000000  {uid} 0\n"


def table(folder: Path, name: str, *rows: tuple[str, int]) -> Path:
    text = HEADER + "".join(ROW.format(state=state, uid=uid) for state, uid in rows)
    (folder / name).write_text(text, encoding="ascii")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the table")
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_our_own_socket(kind: socket.SocketKind) -> None:
    with bound(kind) as (_, port):
        transport = "tcp" if kind == socket.SOCK_STREAM else "udp"
        assert socket_user(transport, "IPv4", port) == pwd.getpwuid(os.geteuid()).pw_name


def test_accepted_connections_are_not_counted(tmp_path: Path) -> None:
    table(tmp_path, "tcp", ("0A", 0), ("01", 4_000_001))
    assert socket_user("tcp", "IPv4", 2867, tmp_path) == pwd.getpwuid(0).pw_name


def test_a_user_without_a_name_is_a_number(tmp_path: Path) -> None:
    table(tmp_path, "udp6", ("07", 4_000_001))
    assert socket_user("udp", "IPv6", 2867, tmp_path) == "4000001"


def test_two_users_are_unknown(tmp_path: Path) -> None:
    table(tmp_path, "udp", ("07", 0), ("07", 4_000_001))
    assert socket_user("udp", "IPv4", 2867, tmp_path) is None


@pytest.mark.parametrize("text", ["", HEADER, HEADER + "short\n", HEADER + "\n"])
def test_a_table_without_the_port(tmp_path: Path, text: str) -> None:
    (tmp_path / "tcp").write_text(text, encoding="ascii")
    assert socket_user("tcp", "IPv4", 2867, tmp_path) is None


def test_no_table_at_all(tmp_path: Path) -> None:
    assert socket_user("tcp", "IPv4", 2867, tmp_path) is None
