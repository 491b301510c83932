"""A command on a terminal of its own, as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from typing import Self

from tests.forked import ForkedProcess

# Modes that readline sets and resets; which ones depends on its version.
_MODES = re.compile(r"\x1b\[\?\d+[hl]\r?")


class Terminal:
    """The command on a terminal.

    Args:
        args: of the command ``esps-portal``, or of the script.
        script: what runs instead of the command, in Python.
        columns: the width of the terminal.

    Attributes:
        screen: everything that was shown.
    """

    def __init__(self, *args: str, script: str | None = None, columns: int = 80) -> None:
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._settings = termios.tcgetattr(follower)
        self._process = ForkedProcess(
            *args,
            script=script,
            environment={"TERM": "xterm", "INPUTRC": os.devnull},
            without=("COLUMNS", "LINES", "NO_COLOR", "ESPS_PORTAL_URL"),
            terminal=follower,
        )
        self._follower = follower
        self._shown = b""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()
        for end in (self._leader, self._follower):
            os.close(end)

    @property
    def screen(self) -> str:
        text = _MODES.sub("", self._shown.decode(errors="backslashreplace"))
        return text.replace("\r\n", "\n")

    @property
    def is_restored(self) -> bool:
        """Whether the terminal echoes and edits lines again, as before."""
        return termios.tcgetattr(self._follower) == self._settings

    def until(self, text: str) -> str:
        """Wait until a text is shown; return what was shown since the last call, with it."""
        while text not in self.screen[self._seen :]:
            readable, _, _ = select.select([self._leader], [], [], 30)
            assert readable, self.screen
            self._shown += os.read(self._leader, 65536)
        start, self._seen = self._seen, self.screen.index(text, self._seen) + len(text)
        return self.screen[start : self._seen]

    def type(self, keys: str) -> None:
        os.write(self._leader, keys.encode())

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> tuple[int, str]:
        """Wait for its end; return the exit code, and what was shown since `until`."""
        code = self._process.wait(30)
        while select.select([self._leader], [], [], 0)[0]:
            self._shown += os.read(self._leader, 65536)
        return code, self.screen[self._seen :]
