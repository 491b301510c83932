"""What was found, in the form in which ``ss``, ``lsof`` and ``netstat`` show it.

None of them is run, and none needs to be on this machine. Their columns in their order and their
spelling, except those that only the kernel's own interfaces know (queues, device numbers). Only
what listens, or is open to everybody, is here: that is what ``ss -l`` and ``netstat -l`` list.
"""

from __future__ import annotations

import shutil

import attrs

from esps_portal.inspection.holders import CONNECTED, LISTEN, WILDCARDS, Holder
from esps_portal.protocol.escape import visible


@attrs.frozen
class Table:
    """Our own findings in the form of one program.

    Attributes:
        program: ``ss``, ``lsof`` or ``netstat``.
        command: how to ask it.
        rows: the cells; the first row is the header.
        is_here: whether this machine has the program.
    """

    program: str
    command: str
    rows: tuple[tuple[str, ...], ...]
    is_here: bool

    @classmethod
    def of(cls, command: str, *rows: tuple[str, ...]) -> Table:
        """Make the table of a command's program."""
        program = command.partition(" ")[0]
        return cls(program, command, rows, shutil.which(program) is not None)

    def lines(self) -> list[str]:
        """Return the rows with their columns aligned."""
        widths = [max(map(len, column)) for column in zip(*self.rows, strict=True)]
        padded = [[c.ljust(w) for c, w in zip(r, widths, strict=True)] for r in self.rows]
        return [" ".join(row).rstrip() for row in padded]


_SS = ("Netid", "State", "Local", "Peer", "Process")
_LSOF = ("COMMAND", "PID", "USER", "FD", "TYPE", "NODE", "NAME")
_NETSTAT = ("Proto", "Local Address", "Foreign Address", "State", "PID/Program name")


def tables(holders: tuple[Holder, ...], port: int) -> tuple[Table, ...]:
    """Return the three tables; each has its header alone where nothing is held."""
    open_ones = [holder for holder in holders if holder.state != CONNECTED]
    seen = [holder for holder in open_ones if holder.pid is not None]  # lsof goes by process
    return (
        Table.of(f"ss -lntup 'sport = :{port}'", _SS, *map(_ss, open_ones)),
        Table.of(f"lsof -nP -i :{port}", _LSOF, *map(_lsof, seen)),
        Table.of("netstat -lntup", _NETSTAT, *map(_netstat, open_ones)),
    )


def _ss(holder: Holder) -> tuple[str, ...]:
    process = ""
    if holder.pid is not None:
        fd = "" if holder.fd is None else f",fd={holder.fd}"
        process = f'users:(("{_program(holder)}",pid={holder.pid}{fd}))'
    peer = "[::]:*" if holder.family == "IPv6" else "0.0.0.0:*"
    local = f"{bracketed(holder.host)}:{holder.port}"
    return holder.transport, holder.state, local, peer, process


def _lsof(holder: Holder) -> tuple[str, ...]:
    name = "*" if holder.host in WILDCARDS else bracketed(holder.host)
    state = " (LISTEN)" if holder.state == LISTEN else ""
    fd = "" if holder.fd is None else f"{holder.fd}u"
    return (
        _program(holder)[:9],  # lsof(8), +c: nine characters by default
        str(holder.pid),
        (holder.user or "")[:8],
        fd,
        holder.family,
        holder.transport.upper(),
        f"{name}:{holder.port}{state}",
    )


def _netstat(holder: Holder) -> tuple[str, ...]:
    six = holder.family == "IPv6"
    process = "-" if holder.pid is None else f"{holder.pid}/{_program(holder)}"
    return (
        holder.transport + ("6" if six else ""),
        f"{holder.host}:{holder.port}",
        ":::*" if six else "0.0.0.0:*",
        holder.state if holder.state == LISTEN else "",
        process,
    )


def _program(holder: Holder) -> str:
    return visible(holder.program or "?")


def bracketed(host: str) -> str:
    """Return ``host`` as written before a colon and a port."""
    return f"[{host}]" if ":" in host else host
