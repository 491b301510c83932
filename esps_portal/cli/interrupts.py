"""Which SIGINT `run` passes on to its command: one that a process sent, not Ctrl-C.

After Ctrl-C the kernel sends SIGINT to each process in the foreground of the terminal, the command
included; after ``kill -INT PID`` only `run` gets it. The sender of a signal is known to a thread
that waits for it while it is blocked (``si_code``, sigaction(2)), but not to a signal handler.
macOS does not report it: there each SIGINT counts as Ctrl-C while we are in the foreground of a
terminal. Windows blocks no signals, and can only end a process: nothing is passed on.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from esps_portal.cli.errors import print_error
from esps_portal.cli.signals import is_in_foreground

_SIGINT = {signal.SIGINT}


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in this thread, and in those that are started within the block.

    It must be the main thread. A thread that is older handles SIGINT as before.
    """
    with _masked("SIG_BLOCK"):
        yield


@contextlib.contextmanager
def _masked(how: str) -> Iterator[None]:
    """Block SIGINT in this thread, or not (``SIG_UNBLOCK``)."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(getattr(signal, how), _SIGINT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_unblocked(
    command: Sequence[str], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command, which inherits what this thread blocks: not SIGINT.

    Raises:
        OSError: it cannot be started.
    """
    with _masked("SIG_UNBLOCK"):
        return subprocess.Popen(command, env=environment)  # noqa: S603 - it is the user's own


def pass_on(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the command, unless it has ended; an error is one line."""
    try:
        process.send_signal(number)
    except PermissionError as error:  # it runs as another user: sudo
        print_error(f"esps-portal: cannot pass {number.name} on: {error.strerror}")


@contextlib.contextmanager
def interrupts_watched(on_interrupt: Callable[[], None]) -> Iterator[None]:
    """Have ``on_interrupt`` called, by a trio run, for each SIGINT that a process sends.

    SIGINT must be blocked; one that the kernel sends is dropped.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    import trio  # noqa: PLC0415 - help must not wait for it

    token = trio.lowlevel.current_trio_token()
    ended = threading.Event()

    def watch() -> None:
        while True:
            is_from_process = _wait_for_interrupt()
            if ended.is_set():
                return
            if is_from_process:
                token.run_sync_soon(on_interrupt)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        assert thread.ident is not None  # noqa: S101 - it was started
        signal.pthread_kill(thread.ident, signal.SIGINT)
        thread.join()


def _wait_for_interrupt() -> bool:
    """Wait for a SIGINT, which is blocked; return whether a process has sent it."""
    if hasattr(signal, "sigwaitinfo"):
        # SI_USER, SI_QUEUE, SI_TKILL; the kernel's are positive.
        return signal.sigwaitinfo(_SIGINT).si_code <= 0
    signal.sigwait(_SIGINT)  # macOS
    return not is_in_foreground()
