"""The command, in this process or in one of its own.

`run` calls the function of the installed command, which saves a fifth of a second for starting
Python and importing a network library. Tests of signals, closed descriptors or a terminal need a
process: `start` and `run_redirected`.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from esps_portal.cli import main
from tests.forked import ForkedProcess

COMMAND = str(Path(sys.executable).parent / "esps-portal")


def run(*args: str | bytes, url: str = "", stdin: bytes = b"") -> tuple[int, str, str]:
    """Run the command in this process; return exit code, standard output and standard error.

    Both include what a process writes that the command starts.
    """
    out, err = _Captured(), _Captured()
    with pytest.MonkeyPatch.context() as patch, _descriptor(1, out), _descriptor(2, err):
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        patch.delenv("ESPS_PORTAL_URL", raising=False)
        if url:
            patch.setenv("ESPS_PORTAL_URL", url)
        with pytest.raises(SystemExit) as ended:
            main([os.fsdecode(arg) for arg in args], prog_name="esps-portal")
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.text(), err.text()


def run_writing_to(output: int, *args: str, url: str) -> tuple[int, str]:
    """Do what `run` does, with this descriptor as standard output, which is closed.

    Standard output is an object as Python makes it, and is flushed at the end as Python does.
    """
    err = _Captured()
    with os.fdopen(output, "w", encoding="utf-8") as out, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "__stdout__", out)
        patch.setattr(sys, "stderr", err)
        patch.setenv("ESPS_PORTAL_URL", url)
        with pytest.raises(SystemExit) as ended:
            main(args, prog_name="esps-portal")
        sys.stdout.flush()
    assert isinstance(ended.value.code, int)
    return ended.value.code, err.text()


def run_in_colour(*args: str, url: str = "") -> tuple[int, str, str]:
    """Do what `run` does, but keep escape sequences, as click does on a terminal."""
    result = CliRunner().invoke(main, args, env={"ESPS_PORTAL_URL": url or None}, color=True)
    return result.exit_code, result.stdout_bytes.decode(), result.stderr_bytes.decode()


def start(
    *args: str, url: str = "", stdout: int | None = None, closed: Collection[int] = ()
) -> ForkedProcess:
    """Start the command; its standard output may be a descriptor, or may be closed."""
    environment = {"ESPS_PORTAL_URL": url} if url else {}
    return ForkedProcess(*args, environment=environment, stdout=stdout, closed=closed)


def run_redirected(redirect: str, *args: str, url: str = "") -> tuple[int, str, str]:
    """Do what `run` does in a process that a shell starts, with a redirection such as ``>&-``."""
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", COMMAND, *args],
        env={**os.environ, **({"ESPS_PORTAL_URL": url} if url else {})},
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


def run_failing(*args: str) -> tuple[int, str]:
    """Return the exit code and the last line of standard error, without a traceback before it."""
    code, _, err = run(*args)
    assert "Traceback" not in err
    return code, err.splitlines()[-1]


@contextlib.contextmanager
def _descriptor(number: int, file: io.TextIOWrapper) -> Iterator[None]:
    """Let a descriptor be that of ``file``."""
    kept = os.dup(number)
    os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)


class _Captured(io.TextIOWrapper):
    """A standard stream that keeps what is written to it or to its descriptor."""

    def __init__(self) -> None:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - `text` closes it
        super().__init__(file, encoding="utf-8", errors="backslashreplace", newline="\n")

    def text(self) -> str:
        """Return everything that was written, and close the stream."""
        with self:
            self.seek(0)
            return self.read()
