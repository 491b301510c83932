"""The command that ``esps-portal run`` runs: how it starts, gets signals, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from contextlib import AbstractContextManager
from functools import partial

from esps_portal.cli.errors import has_no_descriptor, in_one_line, print_error
from esps_portal.cli.interrupts import (
    interrupts_blocked,
    interrupts_watched,
    pass_on,
    start_unblocked,
)
from esps_portal.cli.signals import ending_signals, is_ignored, is_in_foreground

# Exit codes of shells for a command that cannot be run, or that a signal ended
# (POSIX.1-2017, Shell Command Language, section 2.8.2).
_NOT_FOUND, _NOT_EXECUTABLE, _BY_SIGNAL = 127, 126, 128


async def run_child(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Run a command to its end, and return its exit code as a shell reports it."""
    import trio  # noqa: PLC0415 - help must not wait for it

    passed_on = [number for number in ending_signals() if not is_ignored(number)]
    with trio.open_signal_receiver(*passed_on) as signals:
        return await _run(command, environment, signals)


async def _run(command: tuple[str, ...], environment: dict[str, str], signals: object) -> int:
    import trio  # noqa: PLC0415 - help must not wait for it

    from esps_portal.net.descriptors import raise_limit  # noqa: PLC0415 - the same

    with interrupts_blocked():
        try:
            process = await trio.to_thread.run_sync(start_unblocked, command, environment)
        except FileNotFoundError:
            print_error(f"esps-portal: {in_one_line(command[0])}: not found")
            return _NOT_FOUND
        except OSError as error:
            if has_no_descriptor(error):
                raise  # we have no descriptor left
            print_error(f"esps-portal: {in_one_line(command[0])}: {error.strerror}")
            return _NOT_EXECUTABLE
        raise_limit()  # not before: CMD, which may use select(2), is to have what we were given
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pass_on, signals, process)
                with _interrupts_passed_on(process):
                    await trio.to_thread.run_sync(_wait, process, abandon_on_cancel=True)
                nursery.cancel_scope.cancel()
        finally:
            if process.poll() is None:  # we are cancelled: do not leave it running
                process.kill()
    status = process.wait()
    return _BY_SIGNAL - status if status < 0 else status


def _wait(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has ended; its number stays in use until its status is read."""
    if not hasattr(os, "waitid"):  # Windows, and macOS before Python 3.13: it is read at once
        process.wait()
        return
    with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def _interrupts_passed_on(process: subprocess.Popen[bytes]) -> AbstractContextManager[None]:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        return contextlib.nullcontext()
    return interrupts_watched(partial(pass_on, process, signal.SIGINT))


async def _pass_on(signals: object, process: subprocess.Popen[bytes]) -> None:
    async for number in signals:  # type: ignore[attr-defined]  # trio does not export its type
        # SIGINT comes here only while the command starts. If it was Ctrl-C in a terminal, the
        # kernel has sent it to the command as well.
        if number != signal.SIGINT or not is_in_foreground():
            pass_on(process, signal.Signals(number))
