"""Which sockets of this machine hold a port, and which processes hold those sockets."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import attrs

from esps_portal.inspection.kernel_table import owner

_T = TypeVar("_T")

_TRANSPORTS = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}
_FAMILIES = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, never bound

LISTEN = "LISTEN"
UNCONNECTED = "UNCONN"
CONNECTED = "ESTAB"


@attrs.frozen
class Holder:
    """A socket that holds the port, in one process that holds the socket.

    Attributes:
        transport: ``tcp`` or ``udp``.
        family: ``IPv4`` or ``IPv6``.
        host: the local address, as a number.
        port: the local port.
        state: ``LISTEN``; ``UNCONN`` (UDP, open to everybody); ``ESTAB`` (it has one peer).
        pid: the process; this and what follows is None where it could not be seen.
        fd: the socket's number in that process.
        program: the process's short name.
        command: its command line.
        user: who runs it.
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
    """What was seen, and what was not.

    Attributes:
        holders: the sockets that have the port.
        connections: how many TCP connections have it as their local port, by state.
        unseen: a sentence for each thing that could not be seen.
    """

    holders: tuple[Holder, ...]
    connections: dict[str, int]
    unseen: tuple[str, ...]


def scan(port: int) -> SocketScan:
    """Return the sockets on ``port`` of this machine that this process may see."""
    sockets, unseen = _sockets()
    mine = [s for s in sockets if s.laddr and s.laddr.port == port]
    connections = Counter(_state(s) for s in mine if _is_connection(s))
    listens = any(s.status == LISTEN for s in mine)
    # Accepted connections are their listener's. Without one they hold the port themselves.
    holding = [s for s in mine if not _is_connection(s) or (s.pid and not listens)]
    holders = {holder for s in holding for holder in _with_relatives(s)}
    if any(h.pid is None for h in holders):
        unseen = [*unseen, _why_no_process()]
    order = sorted(holders, key=lambda h: (h.transport, h.family, h.host, h.state, h.pid or 0))
    return SocketScan(tuple(order), dict(sorted(connections.items())), tuple(unseen))


def _sockets() -> tuple[list[Any], list[str]]:
    """Return every TCP and UDP socket that psutil sees, and what it did not."""
    import psutil  # noqa: PLC0415 - 20 ms that no other command should wait for

    try:
        return list(psutil.net_connections(kind="inet")), []
    # KeyError and RuntimeError: a kernel whose table psutil does not know.
    except (psutil.Error, OSError, RuntimeError, KeyError):
        return _sockets_one_by_one()


def _sockets_one_by_one() -> tuple[list[Any], list[str]]:
    """Some systems (macOS) show no table of all sockets, but each user's own processes."""
    import psutil  # noqa: PLC0415 - as above

    found: list[Any] = []
    hidden = 0
    try:
        processes = list(psutil.process_iter())
    except (psutil.Error, OSError) as error:
        return [], [f"any process at all: {error}"]
    for process in processes:
        try:
            own = process.net_connections(kind="inet")
        except psutil.NoSuchProcess:
            continue
        except (psutil.Error, OSError, RuntimeError, KeyError):
            hidden += 1
            continue
        found += [_Socket.of(process.pid, entry) for entry in own]
    words = f"the sockets of {hidden} processes: looking needs more rights{_hint()}"
    return found, [words] if hidden else []


@attrs.frozen
class _Socket:
    """A process's entry in the shape of the table's: with its pid."""

    pid: int
    fd: int
    family: int
    type: int
    laddr: Any
    raddr: Any
    status: str

    @classmethod
    def of(cls, pid: int, entry: Any) -> _Socket:  # noqa: ANN401 - psutil's named tuple
        return cls(pid, entry.fd, entry.family, entry.type, entry.laddr, entry.raddr, entry.status)


def _is_connection(entry: Any) -> bool:  # noqa: ANN401 - psutil's named tuple, or ours
    return bool(entry.type == socket.SOCK_STREAM and entry.status != LISTEN)


def _state(entry: Any) -> str:  # noqa: ANN401 - as above
    return str(entry.status)


# ---- from a socket to its processes -------------------------------------------------------------


def _with_relatives(entry: Any) -> Iterator[Holder]:  # noqa: ANN401 - as above
    """Yield the socket's holder, and each parent and child that has the same socket.

    The table names one process for each socket. One that forked its workers, or was handed its
    socket by systemd, shares it, and to free the port one needs them all.
    """
    state = LISTEN if entry.status == LISTEN else CONNECTED if entry.raddr else UNCONNECTED
    family, transport = _FAMILIES[entry.family], _TRANSPORTS[entry.type]
    bare = Holder(transport, family, entry.laddr.ip, entry.laddr.port, state)
    if entry.pid is None:
        yield attrs.evolve(bare, user=owner(transport, family, bare.port))
        return
    yield _with_process(bare, entry.pid, entry.fd)
    for pid in _relatives(entry.pid):
        fd = _shared_fd(pid, entry)
        if fd is not None:
            yield _with_process(bare, pid, fd)


def _relatives(pid: int) -> set[int]:
    import psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
        parents = process.parents()
        # Everything descends from the first process: its other children are not relatives.
        siblings = parents[0].children() if parents and parents[0].pid != 1 else []
        family = [*parents, *siblings, *process.children(recursive=True)]
    except (psutil.Error, OSError):
        return set()
    return {relative.pid for relative in family} - {pid}


def _shared_fd(pid: int, entry: Any) -> int | None:  # noqa: ANN401 - as above
    import psutil  # noqa: PLC0415 - as above

    wanted = (entry.family, entry.type, entry.laddr, entry.raddr, entry.status)
    try:
        own = psutil.Process(pid).net_connections(kind="inet")
    except (psutil.Error, OSError, RuntimeError, KeyError):
        return None
    same = [s.fd for s in own if (s.family, s.type, s.laddr, s.raddr, s.status) == wanted]
    return same[0] if same else None


def _with_process(bare: Holder, pid: int, fd: int) -> Holder:
    import psutil  # noqa: PLC0415 - as above

    try:
        process = psutil.Process(pid)
    except (psutil.Error, OSError):
        return attrs.evolve(bare, pid=pid)
    command = _seen(process.cmdline)
    return attrs.evolve(
        bare,
        pid=pid,
        fd=fd if fd >= 0 else None,
        program=_seen(process.name),
        command=tuple(command) if command else None,
        user=_seen(process.username),
    )


def _seen(read: Callable[[], _T]) -> _T | None:
    import psutil  # noqa: PLC0415 - as above

    try:
        return read()
    except (psutil.Error, OSError):
        return None


def _why_no_process() -> str:
    if _is_root():
        return (
            "which process has a socket without a pid: it lives outside of this container or "
            "namespace, or in the kernel"
        )
    return f"which process has a socket without a pid: another user's{_hint()}"


def _hint() -> str:
    return "" if _is_root() else " (run inspect as root, with sudo, to see it)"


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
