"""What a process has of memory and descriptors: now, at the most, and once it is quiet again."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attack import Usage
from tests.bench.machine import memory

_SAMPLE = 0.05  # seconds


def descriptors(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - their names are enough


def usage(pid: int) -> Usage:
    """Return what a process has now."""
    return Usage(memory(pid) / 1000, descriptors(pid))


def datagrams_lost(port: int) -> int:
    """Return how many datagrams the kernel has dropped for want of room, at a port (proc(5))."""
    _, *lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()
    rows = [line.split() for line in lines]
    return sum(int(row[-1]) for row in rows if int(row[1].rpartition(":")[2], 16) == port)


class Gauge:
    """The most that a process had while a block ran."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.before = usage(pid)
        self._descriptors = self.before.descriptors
        self._over = threading.Event()

    @property
    def peak(self) -> Usage:
        """The most until now; of a process that has ended, the most that was seen."""
        with contextlib.suppress(OSError):
            self._memory = memory(self._pid, "VmHWM") / 1000
        return Usage(self._memory, self._descriptors)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while a block runs."""
        self._memory = self.before.memory
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        # The kernel keeps the most of memory, but not of descriptors.
        with contextlib.suppress(OSError):
            while not self._over.wait(_SAMPLE):
                self._descriptors = max(self._descriptors, descriptors(self._pid))
                self._memory = max(self._memory, memory(self._pid, "VmHWM") / 1000)

    def settled(self, seconds: float) -> Usage:
        """Wait until it has no more descriptors than before, for at most some seconds."""
        until = time.monotonic() + seconds
        while (now := usage(self._pid)).descriptors > self.before.descriptors:
            if time.monotonic() > until:
                break
            time.sleep(_SAMPLE)
        return now
