"""Says on a terminal what a command waits for, once that takes long."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from esps_portal.cli.errors import print_error
from esps_portal.cli.output import is_stderr_terminal

# Seconds (own choice: after about three, a person thinks that a command hangs).
_LONG = 2.0


@contextlib.contextmanager
def notice_if_slow(waited_for: str) -> Iterator[None]:
    """Print on standard error, if that is a terminal, what the block waits for if it takes long.

    A timer of its own prints it: what runs in the block may be of trio, or not.
    """
    if not is_stderr_terminal():
        yield
        return
    text = f"esps-portal: waiting for {waited_for}; Ctrl-C ends it"
    timer = threading.Timer(_LONG, print_error, (text,))
    timer.daemon = True  # at Ctrl-C the process ends without it
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
