"""The user of a socket whose process may not be seen.

Linux hides the sockets *of a process* from other users, but not the table of all sockets: its
rows carry the user id (proc_net_tcp of the kernel's documentation). So "somebody's" becomes
"root's" without any rights. Elsewhere there is no such table, and no answer.
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


def owner(transport: str, family: str, port: int, tables: Path = _TABLES) -> str | None:
    """Return who owns the socket on ``port``, or None: unknown, or more than one user."""
    try:
        text = (tables / _FILES[transport, family]).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    rows = [line.split() for line in text.splitlines()[1:]]
    uids = {row[7] for row in rows if _is_holder(row, transport, port)}
    return _user_name(uids.pop()) if len(uids) == 1 else None


def _is_holder(row: list[str], transport: str, port: int) -> bool:
    if len(row) < _COLUMNS or not row[1].endswith(f":{port:04X}"):
        return False
    # An accepted connection may be another user's than its listener; UDP accepts nothing.
    return transport == "udp" or row[3] == _LISTEN


def _user_name(uid: str) -> str:
    import pwd  # noqa: PLC0415 - it is only where the table is: on a Unix

    try:
        return pwd.getpwuid(int(uid)).pw_name
    except (KeyError, ValueError, OverflowError):
        return uid
