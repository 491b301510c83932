"""The sockets that were found, in the format of ``ss``, ``lsof`` and ``netstat``.

These programs are not run and need not be installed. The tables have their columns, in their order
and spelling, except those that need other kernel interfaces (queues, device numbers). They list
listening TCP and unconnected UDP sockets, as ``ss -l`` and ``netstat -l`` do.
"""

from __future__ import annotations

import shutil

import attrs

from esps_portal.inspection.sockets import CONNECTED, LISTEN, WILDCARDS, OpenSocket
from esps_portal.protocol.escape import visible
from esps_portal.protocol.urls import host_port


@attrs.frozen
class ToolTable:
    """What inspect found, in the format of one program.

    Attributes:
        program: ``ss``, ``lsof`` or ``netstat``.
        command: the command line that prints such a table.
        rows: the cells; the first row is the header.
        is_installed: whether this machine has the program.
        left_out: what the program would list too; empty: nothing.
    """

    program: str
    command: str
    rows: tuple[tuple[str, ...], ...]
    is_installed: bool
    left_out: str = ""

    @classmethod
    def of(cls, command: str, *rows: tuple[str, ...], left_out: str = "") -> ToolTable:
        """Return the table for the program of ``command``."""
        program = command.partition(" ")[0]
        return cls(program, command, rows, shutil.which(program) is not None, left_out)

    def lines(self) -> list[str]:
        """Return the rows with their columns aligned."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        padded = [[c.ljust(w) for c, w in zip(r, widths, strict=True)] for r in self.rows]
        return [" ".join(row).rstrip() for row in padded]


_SS = ("Netid", "State", "Local", "Peer", "Process")
_LSOF = ("COMMAND", "PID", "USER", "FD", "TYPE", "NODE", "NAME")
_NETSTAT = ("Proto", "Local Address", "Foreign Address", "State", "PID/Program name")


def tool_tables(sockets: tuple[OpenSocket, ...], port: int) -> tuple[ToolTable, ...]:
    """Return the three tables; without sockets each is only its header."""
    unconnected = [socket for socket in sockets if socket.state != CONNECTED]
    # lsof lists processes.
    with_process = [socket for socket in unconnected if socket.pid is not None]
    return (
        ToolTable.of(f"ss -lntup 'sport = :{port}'", _SS, *map(_ss_row, unconnected)),
        ToolTable.of(
            f"lsof -nP -i :{port}",
            _LSOF,
            *map(_lsof_row, with_process),
            left_out="connections",
        ),
        ToolTable.of("netstat -lntup", _NETSTAT, *map(_netstat_row, unconnected)),
    )


def _ss_row(socket: OpenSocket) -> tuple[str, ...]:
    process = ""
    if socket.pid is not None:
        fd = "" if socket.fd is None else f",fd={socket.fd}"
        process = f'users:(("{_program(socket)}",pid={socket.pid}{fd}))'
    peer = "[::]:*" if socket.family == "IPv6" else "0.0.0.0:*"
    local = host_port(socket.host, socket.port)
    return socket.transport, socket.state, local, peer, process


def _lsof_row(socket: OpenSocket) -> tuple[str, ...]:
    name = host_port("*" if socket.host in WILDCARDS else socket.host, socket.port)
    state = " (LISTEN)" if socket.state == LISTEN else ""
    fd = "" if socket.fd is None else f"{socket.fd}u"
    return (
        _program(socket)[:9],  # lsof(8), +c: nine characters by default
        str(socket.pid),
        (socket.user or "")[:8],
        fd,
        socket.family,
        socket.transport.upper(),
        f"{name}{state}",
    )


def _netstat_row(socket: OpenSocket) -> tuple[str, ...]:
    is_ipv6 = socket.family == "IPv6"
    process = "-" if socket.pid is None else f"{socket.pid}/{_program(socket)}"
    return (
        socket.transport + ("6" if is_ipv6 else ""),
        f"{socket.host}:{socket.port}",
        ":::*" if is_ipv6 else "0.0.0.0:*",
        socket.state if socket.state == LISTEN else "",
        process,
    )


def _program(socket: OpenSocket) -> str:
    return visible(socket.program or "?")
