"""A process that has imported the whole library, and forks one process for each request.

`tests.forked` starts it, and the workers of a run ask it. It imports nothing that a user's process
would not have, such as pytest, and it has one thread, so that a fork of it is like a new process:
with the descriptors, environment and folder that it was asked for, and the usual end of a Python
program.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import socket
import struct
import sys
import termios
import threading
import time
from typing import Any

import esps_portal
from esps_portal.cli import main as command

MAX_REQUEST = 1 << 20  # bytes
NUMBER = struct.Struct("=i")  # of a process, or an exit code


def main() -> None:
    """Fork until all processes of the tests have gone; in a child, do what is asked."""
    import_library()
    gc.collect()
    gc.freeze()  # what is imported stays; a child need not look through it
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        request = serve(listener)
    if request is None:
        return
    try:
        run(request)
    except SystemExit as ended:
        code = 0 if ended.code is None else ended.code
        if isinstance(code, int):
            leave(code)
        raise
    leave(0)


def import_library() -> None:
    """Import what commands and portals need; the pytest plugin is the only thing left."""
    for module in pkgutil.walk_packages(esps_portal.__path__, "esps_portal."):
        if not module.name.startswith(("esps_portal.testing.", "esps_portal.__main__")):
            importlib.import_module(module.name)
    testing = importlib.import_module("esps_portal.testing")
    for name in testing.__all__:
        getattr(testing, name)  # imported when it is used


def serve(listener: socket.socket) -> dict[str, Any] | None:
    """Answer requests; return one in the child that was forked for it.

    Return None when the last of those who have connected is gone.
    """
    children: dict[int, tuple[int, int]] = {}  # by the descriptor of each process
    clients = [listener.accept()[0]]
    while clients:
        watched: list[socket.socket | int] = [listener, *clients, *children]
        ready, _, _ = select.select(watched, [], [])
        for process in [one for one in children if one in ready]:
            pid, report = children.pop(process)
            _, status = os.waitpid(pid, 0)
            tell(report, os.waitstatus_to_exitcode(status))
            os.close(report)
            os.close(process)
        for client in [one for one in clients if one in ready]:
            request = answer(client, clients, children)
            if request is not None:
                return request
        if listener in ready:
            clients.append(listener.accept()[0])
    return None


def answer(
    client: socket.socket, clients: list[socket.socket], children: dict[int, tuple[int, int]]
) -> dict[str, Any] | None:
    """Fork for a request; return it in the child.

    It comes with descriptors: the three standard streams, and a pipe. To that goes the number of
    the process, and its exit code at its end.
    """
    message, descriptors, _, _ = socket.recv_fds(client, MAX_REQUEST, 4)
    if not message:
        clients.remove(client)
        client.close()
        return None
    *standard, report = descriptors
    pid = os.fork()
    if not pid:
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        for number in (*descriptors, *children, *(own for _, own in children.values())):
            os.close(number)
        for each in clients:
            each.close()
        request: dict[str, Any] = json.loads(message)
        return request
    for number in standard:
        os.close(number)
    tell(report, pid)
    children[os.pidfd_open(pid)] = (pid, report)
    return None


def tell(report: int, number: int) -> None:
    """Write a number, unless nobody reads it any more."""
    with contextlib.suppress(BrokenPipeError):
        os.write(report, NUMBER.pack(number))


def run(request: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    if request["new_session"]:
        os.setsid()
    if request["has_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    if request["limits"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, tuple(request["limits"]))
    for number in request["closed"]:
        os.close(number)
        name = ("stdin", "stdout", "stderr")[number]
        for attribute in name, f"__{name}__":
            setattr(sys, attribute, None)  # as Python does when it starts
    script, args = request["script"], request["args"]
    if script is None:
        sys.argv = ["esps-portal", *args]
        command(args, prog_name="esps-portal")
    else:
        sys.argv = ["-c", *args]
        exec(compile(script, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102


def leave(code: int) -> None:
    """End as Python does, but leave it to the system to free what was imported.

    Python looks at each object of it, and so at each page of memory that was shared until then: for
    most tests that would take three times as long as all the rest. It returns if something cannot
    be written, of which Python then tells.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - waits for threads
    atexit._run_exitfuncs()  # noqa: SLF001
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
