"""A server that the runner starts and ends itself, with the limits that vectors ask for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import IO

import attrs
import trio

from esps_portal.conformance.escape import as_text
from esps_portal.conformance.target import Target, resolve

#: The environment variable with the limits of a server: ``max-line=600 idle=0.3``.
LIMITS_VARIABLE = "ESPS_CONFORMANCE_LIMITS"
#: The argument that stands for ``--limit NAME=VALUE`` of each limit.
LIMITS_ARGUMENT = "{limits}"

HOST = "127.0.0.1"
# Another process may take a port between the choice and the start.
_ATTEMPTS = 3
_START_SECONDS = 20.0
_POLL_SECONDS = 0.02
# Longer than the drain of a server with default limits.
_STOP_SECONDS = 10.0
_MAX_COMPLAINT = 400  # bytes from the end of its standard error


class CannotStartError(Exception):
    """The command ended, or does not listen."""


@attrs.frozen
class ServerCommand:
    """How to start a server.

    Attributes:
        command: its arguments; ``{port}`` in them is the port, ``{max-line}`` the value of a
            limit, and ``{limits}`` stands for ``--limit NAME=VALUE`` of each that is not default.
        defaults: all limits by name.
        takes_environment: it takes its limits from `LIMITS_VARIABLE`.
    """

    command: tuple[str, ...]
    defaults: Mapping[str, float]
    takes_environment: bool = False

    @property
    def takes_limits(self) -> bool:
        """Whether its limits can be set."""
        named = [LIMITS_ARGUMENT, *(f"{{{name}}}" for name in self.defaults)]
        return self.takes_environment or any(n in word for word in self.command for n in named)

    def arguments(self, port: int, limits: Mapping[str, float]) -> list[str]:
        """Return the arguments for a port and limits."""
        values = {name: _decimal(value) for name, value in {**self.defaults, **limits}.items()}
        values["port"] = str(port)
        found: list[str] = []
        for word in self.command:
            if word == LIMITS_ARGUMENT:
                found += [part for pair in limits.items() for part in ("--limit", _pair(*pair))]
                continue
            for name, value in values.items():
                word = word.replace(f"{{{name}}}", value)  # noqa: PLW2901 - one name after the other
            found.append(word)
        return found

    @contextlib.asynccontextmanager
    async def running(self, limits: Mapping[str, float]) -> AsyncIterator[Target]:
        """Start a server, and end it when the block is left.

        Args:
            limits: those that are not default.

        Raises:
            CannotStartError: it does not listen.
            OSError: the command cannot be run.
        """
        with tempfile.TemporaryFile() as complaints:
            process, port = await self._start(limits, complaints)
            try:
                target = await resolve(
                    HOST, port, frozenset({"tcp", "udp"}), {**self.defaults, **limits}
                )
                yield attrs.evolve(target, process=process.pid)
            finally:
                with trio.CancelScope(shield=True):
                    await _stop(process)

    async def _start(
        self, limits: Mapping[str, float], complaints: IO[bytes]
    ) -> tuple[trio.Process, int]:
        environment = {**os.environ, LIMITS_VARIABLE: " ".join(_pair(*p) for p in limits.items())}
        for _ in range(_ATTEMPTS):
            port = free_port()
            process = await trio.lowlevel.open_process(
                self.arguments(port, limits),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=environment,
            )
            try:
                if await _listens(process, port):
                    return process, port
            except BaseException:
                process.kill()
                raise
            if process.returncode is None:
                process.kill()
                raise CannotStartError(f"it does not listen on port {port}")
        raise CannotStartError(_reason(process, complaints))


async def _listens(process: trio.Process, port: int) -> bool:
    """Wait until a process listens; return whether it does."""
    with trio.move_on_after(_START_SECONDS):
        while process.poll() is None:
            with trio.socket.socket() as probe:
                try:
                    await probe.connect((HOST, port))
                except OSError:
                    await trio.sleep(_POLL_SECONDS)
                else:
                    return process.poll() is None
    return False


async def _stop(process: trio.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    with trio.move_on_after(_STOP_SECONDS):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def free_port() -> int:
    """Return a port of the loopback address that is free over TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((HOST, 0))
            port: int = tcp.getsockname()[1]
            with contextlib.suppress(OSError):
                udp.bind((HOST, port))
                return port


def _pair(name: str, value: float) -> str:
    return f"{name}={_decimal(value)}"


def _decimal(value: float) -> str:
    """Return a value without an exponent, which not every parser knows; to the nanosecond."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _reason(process: trio.Process, complaints: IO[bytes]) -> str:
    size = complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, size - _MAX_COMPLAINT))
    last = complaints.read().strip().rsplit(b"\n", 1)[-1]
    said = f": {as_text(last)}" if last else ""
    return f"it ended with status {process.returncode}{said}"
