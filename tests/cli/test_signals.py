"""What a signal handler raises, wherever it has run."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from esps_portal.cli.signals import handlers_errors_as_raised


def test_an_exit_in_a_function_in_c_is_an_exit() -> None:
    as_cpython_says = SystemError("<class 'bool'> returned a result with an exception set")
    with pytest.raises(SystemExit) as caught, handlers_errors_as_raised():
        raise as_cpython_says from SystemExit(143)
    assert caught.value.code == 143


def test_an_error_of_the_interpreter_is_none_of_a_handler() -> None:
    with pytest.raises(SystemError, match="bad call"), handlers_errors_as_raised():
        raise SystemError("bad call")


def test_an_exit_that_is_dropped_comes_soon() -> None:
    """As readline drops it while it calls a function of Python's."""
    program = """
import os, signal, threading
from esps_portal.cli import signals

signals._LEAVE_SECONDS = 0.1
with signals.ended_in_order():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        pass
    threading.Event().wait()
"""
    ran = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ran.returncode == 128 + signal.SIGTERM
