"""Portals and proxies as processes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
from collections.abc import Iterator
from typing import IO

import attrs

from tests.forked import ForkedProcess


@attrs.define
class RunningServer:
    """A running ``esps-portal serve``."""

    process: subprocess.Popen[str] | ForkedProcess
    ready: dict[str, object] = attrs.field(factory=dict)
    lines: list[str] = attrs.field(factory=list)

    @property
    def output(self) -> IO[str]:
        assert self.process.stdout is not None
        return self.process.stdout

    @property
    def port(self) -> int:
        addresses = self.ready.get("tcp") or self.ready.get("udp")
        if isinstance(addresses, list):
            return int(addresses[0][1])
        return int(self.lines[0].split()[4])

    @property
    def url(self) -> str:
        return f"esps://127.0.0.1:{self.port}"

    def first_lines(self, count: int) -> str:
        """Return the first lines of its output, which is for a person."""
        while len(self.lines) < count:
            self.lines.append(self.output.readline())
        return "".join(self.lines)

    def stop_and_read_log(self) -> list[str]:
        """End it gracefully, and return the lines of standard error."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.stderr is not None
        lines = self.process.stderr.read().splitlines()
        assert self.process.wait(30) == 0
        return lines

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextlib.contextmanager
def running_server(
    *options: str, json_lines: bool = True, command: str = "serve", before: str = ""
) -> Iterator[RunningServer]:
    """Start a portal, or a proxy, on a free port; end it when the block is left.

    Args:
        before: what the process runs before the command, in Python.
    """
    as_json = ["--json"] if json_lines else []
    script = f"{before}\nfrom esps_portal.cli import main\nmain()" if before else None
    with ForkedProcess(command, "--port", "0", *options, *as_json, script=script) as p:
        running = RunningServer(p)
        try:
            first = running.output.readline()
            if json_lines:
                running.ready = json.loads(first)
            else:
                running.lines.append(first)
            yield running
        finally:
            if p.poll() is None:
                p.terminate()
                p.send_signal(signal.SIGINT)  # the second one: it waits for no client
            try:
                p.wait(30)
            finally:
                p.kill()
