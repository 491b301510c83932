"""Which sockets of this machine use a port, and which processes have those sockets."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs

from esps_portal.inspection.proc_net import socket_user
from esps_portal.protocol.escape import visible

_T = TypeVar("_T")

_TRANSPORTS = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}
_FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, never bound

LISTEN = "LISTEN"
UNCONNECTED = "UNCONN"
CONNECTED = "ESTAB"


@attrs.frozen
class OpenSocket:
    """A socket that uses the port, in one of the processes that have it.

    Attributes:
        transport: ``tcp`` or ``udp``.
        family: ``IPv4`` or ``IPv6``.
        host: the local address, numeric.
        port: the local port.
        state: ``LISTEN``; ``UNCONN`` (UDP, receives from anybody); ``ESTAB`` (one remote peer).
        pid: the process. This and all that follows is ``None`` if it is hidden from this user.
        fd: the file descriptor in that process.
        program: the short name of the process.
        command: its command line.
        user: the name of its user.
    """

    transport: str
    family: str
    host: str
    port: int
    state: str
    pid: int | None = None
    fd: int | None = None
    program: str | None = None
    command: tuple[str, ...] | None = None
    user: str | None = None


@attrs.frozen
class SocketScan:
    """The sockets on a port that this process may see.

    Attributes:
        sockets: the sockets that use the port, one entry for each process that has one.
        connections: the number of TCP connections with this local port, by state.
        hidden: one description of each thing that could not be seen.
    """

    sockets: tuple[OpenSocket, ...]
    connections: dict[str, int]
    hidden: tuple[str, ...]


def scan(port: int) -> SocketScan:
    """Return the sockets on ``port`` of this machine that this process may see."""
    on_port, hidden = _entries_on(port)
    if not on_port:
        # The kernel shows its tables in pieces: while others open sockets one may be left out.
        on_port, hidden = _entries_on(port)
    connections = Counter(str(entry.status) for entry in on_port if _is_connection(entry))
    has_listener = any(entry.status == LISTEN for entry in on_port)
    # Accepted connections belong to their listener. Without one they use the port themselves.
    using = [e for e in on_port if not _is_connection(e) or (e.pid and not has_listener)]
    found = {open_socket for entry in using for open_socket in _in_each_process(entry)}
    if any(s.pid is None for s in found):
        hidden = [*hidden, _why_process_is_hidden()]
    ordered = sorted(found, key=lambda s: (s.transport, s.family, s.host, s.state, s.pid or 0))
    return SocketScan(tuple(ordered), dict(sorted(connections.items())), tuple(hidden))


def _entries_on(port: int) -> tuple[list[Any], list[str]]:
    """Return the sockets on ``port``, and what is hidden."""
    entries, hidden = _all_entries()
    return [entry for entry in entries if entry.laddr and entry.laddr.port == port], hidden


def _all_entries() -> tuple[list[Any], list[str]]:
    """Return every TCP and UDP socket that psutil sees, and what is hidden from it."""
    import psutil  # noqa: PLC0415 - it takes 20 ms, which other commands need not wait for

    try:
        return list(psutil.net_connections(kind="inet")), []
    except Exception:  # noqa: BLE001 - see _or_none
        return _entries_by_process()


def _entries_by_process() -> tuple[list[Any], list[str]]:
    """Return the sockets of each process: macOS has no table of all. Also return what is hidden."""
    import psutil  # noqa: PLC0415 - as above

    found: list[Any] = []
    denied = 0
    try:
        processes = list(psutil.process_iter())
    except Exception as error:  # noqa: BLE001 - see _or_none
        why = str(error) if isinstance(error, OSError) else "this system shows no table of them"
        return [], [f"all sockets and processes: {visible(why)}"]
    for process in processes:
        try:
            own = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        except Exception:  # noqa: BLE001 - see _or_none
            denied += 1
            continue
        found += [_Entry.of(process.pid, entry) for entry in own]
    description = f"the sockets of {denied} processes: permission denied{_rights_hint()}"
    return found, [description] if denied else []


@attrs.frozen
class _Entry:
    """A socket of one process, with the pid, as `psutil.net_connections` returns it."""

    pid: int
    fd: int
    family: int
    type: int
    laddr: Any
    raddr: Any
    status: str

    @classmethod
    def of(cls, pid: int, entry: Any) -> _Entry:  # noqa: ANN401 - psutil's named tuple
        return cls(pid, entry.fd, entry.family, entry.type, entry.laddr, entry.raddr, entry.status)


def _is_connection(entry: Any) -> bool:  # noqa: ANN401 - psutil's named tuple, or ours
    return bool(entry.type == socket.SOCK_STREAM and entry.status != LISTEN)


# ---- from a socket to its processes -------------------------------------------------------------


def _in_each_process(entry: Any) -> Iterator[OpenSocket]:  # noqa: ANN401 - as above
    """Yield the socket for its process, and for each parent and child that has it too.

    The table names one process for each socket. Forked workers, and systemd that passed the socket
    on, share it: the port is free only when all of them have ended.
    """
    state = LISTEN if entry.status == LISTEN else CONNECTED if entry.raddr else UNCONNECTED
    family, transport = _FAMILIES[entry.family], _TRANSPORTS[entry.type]
    bare = OpenSocket(transport, family, entry.laddr.ip, entry.laddr.port, state)
    if entry.pid is None:
        yield attrs.evolve(bare, user=socket_user(transport, family, bare.port))
        return
    yield _with_process(bare, entry.pid, entry.fd)
    for pid in _relatives(entry.pid):
        fd = _shared_fd(pid, entry)
        if fd is not None:
            yield _with_process(bare, pid, fd)


def _relatives(pid: int) -> set[int]:
    import psutil  # noqa: PLC0415 - as above

    def family() -> list[psutil.Process]:
        process = psutil.Process(pid)
        parents = process.parents()
        # Every process descends from process 1: its other children are not related.
        siblings = parents[0].children() if parents and parents[0].pid != 1 else []
        return [*parents, *siblings, *process.children(recursive=True)]

    return {relative.pid for relative in _or_none(family) or ()} - {pid}


def _shared_fd(pid: int, entry: Any) -> int | None:  # noqa: ANN401 - as above
    import psutil  # noqa: PLC0415 - as above

    expected = (entry.family, entry.type, entry.laddr, entry.raddr, entry.status)
    own = _or_none(lambda: psutil.Process(pid).net_connections(kind="inet"))
    same = [s.fd for s in own or () if (s.family, s.type, s.laddr, s.raddr, s.status) == expected]
    return same[0] if same else None


def _with_process(bare: OpenSocket, pid: int, fd: int) -> OpenSocket:
    import psutil  # noqa: PLC0415 - as above

    process = _or_none(lambda: psutil.Process(pid))
    if process is None:
        return attrs.evolve(bare, pid=pid)
    command = _or_none(process.cmdline)
    return attrs.evolve(
        bare,
        pid=pid,
        fd=fd if fd >= 0 else None,
        program=_or_none(process.name),
        command=tuple(command) if command else None,
        user=_or_none(process.username),
    )


def _or_none(read: Callable[[], _T]) -> _T | None:
    """Return what psutil reads; `None`: it cannot.

    A table that is empty, in an odd format or half hidden makes psutil raise whatever its parser
    stumbles over (IndexError for an empty /proc, for one), not only its own errors.
    """
    try:
        return read()
    except Exception:  # noqa: BLE001 - see above
        return None


def _why_process_is_hidden() -> str:
    if _is_root():
        return (
            "the process of each socket without a pid: it is outside this container or namespace,"
            " or in the kernel"
        )
    return f"the process of each socket without a pid: it is another user's{_rights_hint()}"


def _rights_hint() -> str:
    if not hasattr(os, "geteuid"):
        return " (to see it, run inspect as an administrator)"  # Windows
    return "" if _is_root() else " (to see it, run inspect as root, with sudo)"


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
