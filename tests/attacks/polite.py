"""How a polite client fares meanwhile."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.attacks.attack import Latency

_PROGRAM = Path(__file__).with_name("polite_client.py")


@attrs.frozen
class Question:
    """What the polite client asks, and how it knows the end of the answer.

    Attributes:
        ask: with ``{n}`` where each shall be another.
        transport: ``tcp``, ``udp`` or ``tls``.
        greeting: how what the server sends first ends; empty: it says nothing.
        limit: seconds to wait for an answer.
        pause: seconds between an answer and the next question.
        is_always_new: whether it asks over a new connection each time.
        pid: of the server, whose work for each answer is measured.
    """

    port: int
    ask: str = "a PING\n"
    end: str = "a OK\n"
    greeting: str = "\n"
    transport: str = "tcp"
    limit: float = 10.0
    pause: float = 0.002
    cafile: str = ""
    is_always_new: bool = False
    pid: int = 0


@attrs.define
class PoliteClient:
    """A polite client that has connected, and waits for the word to begin."""

    _process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self._process.pid

    def begin(self) -> None:
        """Let it begin to ask."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> Latency:
        """Let it end, and return what it saw."""
        out, _ = self._process.communicate("\n", timeout=30)
        seen = json.loads(out)
        return Latency(**{**seen, "failures": tuple(seen["failures"])})


@contextlib.contextmanager
def polite_client(question: Question) -> Iterator[PoliteClient]:
    """Start a polite client; it has connected."""
    # Without the site packages it starts in 20 ms.
    command = [sys.executable, "-I", "-S", str(_PROGRAM), json.dumps(attrs.asdict(question))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield PoliteClient(process)
        finally:
            process.kill()
