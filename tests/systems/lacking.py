"""Makes this process lack what another system lacks: ``python -m tests.systems.lacking macos …``.

What the standard library, trio and pytest need of Linux they keep: they are imported before, and
trio gets copies of the modules from which names are taken. The library, which is imported after
that, finds what it would find there. What a system does in another way is played where the library
depends on it: no two sockets on one address; a listener cannot be shut; on Windows the layout of
SO_LINGER, and SO_REUSEADDR, which would let anybody take a port.
"""

from __future__ import annotations

import asyncio  # noqa: F401 - so that it finds Linux
import concurrent.futures.thread  # noqa: F401
import errno
import logging.handlers  # noqa: F401
import multiprocessing.connection  # noqa: F401
import os
import runpy
import select
import signal
import socket
import ssl  # noqa: F401
import struct
import subprocess  # noqa: F401
import sys
import sysconfig
import termios
import time
import types
import urllib.request  # noqa: F401
import weakref
from collections.abc import Callable
from typing import Any

import click  # noqa: F401
import psutil  # noqa: F401
import trio

_MODULES = {"windows": ("fcntl", "grp", "pwd", "resource", "termios")}
_NAMES: dict[str, dict[types.ModuleType, str]] = {
    "macos": {
        os: "waitid",
        select: "epoll EPOLLERR EPOLLIN EPOLLRDHUP",
        signal: "sigwaitinfo",
        socket: "IP_PKTINFO IP_RECVTTL TCP_KEEPIDLE TCP_INFO TCP_NOTSENT_LOWAT TCP_USER_TIMEOUT",
        termios: "TIOCOUTQ",
    },
    "windows": {
        os: "fork getegid geteuid getgid getpgrp getuid pread pwrite register_at_fork tcgetpgrp"
        " waitid O_CLOEXEC O_NOCTTY O_NONBLOCK",
        select: "epoll poll EPOLLERR EPOLLIN EPOLLRDHUP POLLERR POLLIN POLLOUT",
        signal: "SIGHUP SIGPIPE pthread_kill pthread_sigmask sigwaitinfo",
        socket: "AF_UNIX IP_PKTINFO IP_RECVTTL IPV6_RECVPKTINFO SO_REUSEPORT TCP_NOTSENT_LOWAT"
        " TCP_USER_TIMEOUT",
        time: "CLOCK_MONOTONIC clock_gettime",
    },
}
_METHODS = {"macos": (), "windows": ("recvmsg", "recvmsg_into", "sendmsg")}
_PLATFORMS = {"macos": "darwin", "windows": "win32"}
# <winsock2.h>: ((int)(~SO_REUSEADDR)).
_SO_EXCLUSIVEADDRUSE = ~4


def become(system: str) -> None:
    """Take away what ``macos`` or ``windows`` lacks."""
    sysconfig.get_config_vars()  # once it knows them it asks no more
    _spare_trio()
    _keep_pairs()
    for module, names in _NAMES[system].items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in _MODULES.get(system, ()):
        sys.modules[name] = None  # type: ignore[assignment]  # an import of it fails
    for name in _METHODS[system]:
        setattr(socket.socket, name, _Missing())
    _play_sockets(is_windows=system == "windows")
    sys.platform = _PLATFORMS[system]


class _Missing:
    """An attribute that is not there, though a parent class has it."""

    def __get__(self, instance: object, owner: type) -> object:
        raise AttributeError


def _spare_trio() -> None:
    copies: dict[int, types.ModuleType] = {}
    for module in (os, select, signal, socket, sys, time):
        copy = types.ModuleType(module.__name__)
        copy.__dict__.update(module.__dict__)
        copies[id(module)] = copy
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == trio.__name__:
            for attribute, value in list(vars(module).items()):
                if id(value) in copies and attribute in ("_stdlib_socket", "select", "sys"):
                    setattr(module, attribute, copies[id(value)])


def _keep_pairs() -> None:
    """Have `socket.socketpair`, which trio wakes itself with, not depend on AF_UNIX."""
    pair, unix = socket.socketpair, socket.AF_UNIX
    socket.socketpair = lambda: pair(unix)  # type: ignore[assignment,misc]


def _play_sockets(*, is_windows: bool) -> None:
    patched: Any = socket.socket
    patched.bind = _bind_alone(socket.socket.bind)
    patched.shutdown = _shut_connected(socket.socket.shutdown)
    if is_windows:
        patched.setsockopt = _set_as_on_windows(socket.socket.setsockopt)
        names: Any = socket
        names.SO_EXCLUSIVEADDRUSE = _SO_EXCLUSIVEADDRUSE


def _bind_alone(bind: Callable[..., None]) -> Callable[..., None]:
    bound: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def bind_alone(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - of any family
        for other in bound:
            is_alike = other.fileno() >= 0 and other.type == self.type
            if is_alike and other.getsockname()[:2] == address[:2]:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        bind(self, address)
        bound.add(self)

    return bind_alone


def _shut_connected(shutdown: Callable[..., None]) -> Callable[..., None]:
    def shut_connected(self: socket.socket, how: int) -> None:
        self.getpeername()  # ENOTCONN
        shutdown(self, how)

    return shut_connected


def _set_as_on_windows(setsockopt: Callable[..., None]) -> Callable[..., None]:
    def set_option(self: socket.socket, level: int, option: int, *value: Any) -> None:  # noqa: ANN401 - bytes or an int
        if level == socket.SOL_SOCKET and option == socket.SO_REUSEADDR:
            raise OSError(errno.EINVAL, "anybody could take the port")
        if level == socket.SOL_SOCKET and option == _SO_EXCLUSIVEADDRUSE:
            if self.type == socket.SOCK_STREAM:  # a port is free at once when its socket is closed
                setsockopt(self, level, socket.SO_REUSEADDR, 1)
        elif level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            setsockopt(self, level, option, struct.pack("ii", *struct.unpack("HH", *value)))
        else:
            setsockopt(self, level, option, *value)

    return set_option


if __name__ == "__main__":
    _, wanted, program, *arguments = sys.argv
    assert not [name for name in sys.modules if name.startswith("esps_portal")]
    if program == "pytest":
        import pytest
    become(wanted)
    sys.argv = [program, *arguments]
    if program == "pytest":
        sys.exit(pytest.main(arguments))
    runpy.run_module(program, run_name="__main__", alter_sys=True)
