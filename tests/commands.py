"""The command in this process, through the very function that the installed command calls.

To start an interpreter and import a network library takes a fifth of a second: what is said about a
bad option needs neither. What a process is needed for (signals, descriptors that are closed, a
terminal) starts `COMMAND`.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest

from esps_portal.cli import main

COMMAND = str(Path(sys.executable).parent / "esps-portal")


def run(*args: str | bytes, url: str = "", stdin: bytes = b"") -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error."""
    out, err = _Captured(), _Captured()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        if url:
            patch.setenv("ESPS_PORTAL_URL", url)
        with pytest.raises(SystemExit) as ended:
            main([os.fsdecode(arg) for arg in args], prog_name="esps-portal")
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.text(), err.text()


class _Captured(io.TextIOWrapper):
    """A standard stream that keeps what is written, through it or through its descriptor."""

    def __init__(self) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - `text` closes it
        super().__init__(file, encoding="utf-8", errors="backslashreplace", newline="\n")

    def text(self) -> str:
        """Return all that was written, and close it."""
        with self:
            self.seek(0)
            return self.read()
