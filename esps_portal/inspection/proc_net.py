"""The user of a socket whose process is hidden, from Linux's ``/proc/net``.

Linux hides the sockets *of a process* from other users, but not the table of all sockets, whose
rows contain the user id (proc_net_tcp.rst in the kernel's documentation). Other systems have no
such table.
"""

from __future__ import annotations

from pathlib import Path

_TABLES = Path("/proc/net")
_FILES = {
    ("tcp", "IPv4"): "tcp",
    ("tcp", "IPv6"): "tcp6",
    ("udp", "IPv4"): "udp",
    ("udp", "IPv6"): "udp6",
}
_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h, as the table prints it
_COLUMNS = 8  # sl, local, remote, state, queues, timer, retransmissions, uid


def socket_user(transport: str, family: str, port: int, tables: Path = _TABLES) -> str | None:
    """Return the user of the sockets on ``port``; ``None`` if unknown, or if they have several."""
    try:
        text = (tables / _FILES[transport, family]).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    rows = [line.split() for line in text.splitlines()[1:]]
    uids = {row[7] for row in rows if _uses_port(row, transport, port)}
    return _user_name(uids.pop()) if len(uids) == 1 else None


def _uses_port(row: list[str], transport: str, port: int) -> bool:
    if len(row) < _COLUMNS or not row[1].endswith(f":{port:04X}"):
        return False
    # An accepted connection may belong to another user than its listener. UDP accepts nothing.
    return transport == "udp" or row[3] == _LISTEN


def _user_name(uid: str) -> str:
    import pwd  # noqa: PLC0415 - it exists on Unix only, as the table does

    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return uid
