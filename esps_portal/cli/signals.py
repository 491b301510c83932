"""The signals of a system, and the terminal that sends some of them; Windows has fewer of both."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

#: Sent when the terminal has closed; `None`: this system has no such signal.
SIGHUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
#: Its number where there is one, and in the exit code of a command anywhere (signal(7)).
SIGPIPE: int = getattr(signal, "SIGPIPE", 13)

# Seconds within which a signal has to have ended a command at its prompt.
_LEAVE_SECONDS = 2.0


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a command; without SIGHUP under nohup, which ignores it."""
    others = [] if SIGHUP is None or is_ignored(SIGHUP) else [SIGHUP]
    return [signal.SIGINT, signal.SIGTERM, *others]


@contextlib.contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise `SystemExit` in the block, with 128 plus their number.

    So a line editor restores the terminal. It drops an exception that is raised while it calls a
    function of ours: if the block is not left soon, the process ends, with the terminal as it was.
    Only for the main thread.
    """
    restore, timers = _terminal_restorer(), list[threading.Timer]()

    def leave_now(code: int) -> None:
        restore()
        os._exit(code)

    def leave(number: int, _: FrameType | None) -> NoReturn:
        code = 128 + number
        timer = threading.Timer(_LEAVE_SECONDS, leave_now, (code,))
        timer.daemon = True
        timer.start()
        timers.append(timer)
        sys.exit(code)

    numbers = [number for number in ending_signals() if number != signal.SIGINT]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        with handlers_errors_as_raised():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()


def _terminal_restorer() -> Callable[[], None]:
    """Return a function that sets the terminal of standard input as it is now."""
    try:
        import termios  # noqa: PLC0415 - Windows has none
    except ImportError:
        return lambda: None
    try:
        attributes = termios.tcgetattr(0)
    except (OSError, termios.error):  # it is not a terminal
        return lambda: None

    def restore() -> None:
        with contextlib.suppress(OSError, termios.error):  # it has gone
            termios.tcsetattr(0, termios.TCSANOW, attributes)

    return restore


@contextlib.contextmanager
def handlers_errors_as_raised() -> Iterator[None]:
    """Raise what a signal handler has raised as it is.

    Where the handler ran within a function in C that has a result already, CPython makes it the
    cause of a SystemError.
    """
    try:
        yield
    except SystemError as error:
        if error.__cause__ is None:
            raise
        raise error.__cause__ from None


def is_ignored(number: signal.Signals) -> bool:
    """Whether this process was started with a signal ignored."""
    return signal.getsignal(number) == signal.SIG_IGN


def has_terminal() -> bool:
    """Whether there is a controlling terminal, which sends SIGHUP when it closes."""
    terminal = _open_terminal()
    if terminal is None:
        return False
    os.close(terminal)
    return True


def is_in_foreground() -> bool:
    """Whether there is a controlling terminal that sends its signals to this process group.

    On Windows a console sends Ctrl-C to all that share it.
    """
    if not hasattr(os, "tcgetpgrp"):
        return True
    terminal = _open_terminal()
    if terminal is None:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _open_terminal() -> int | None:
    if not hasattr(os, "O_NOCTTY"):  # Windows
        return None
    try:
        return os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return None
