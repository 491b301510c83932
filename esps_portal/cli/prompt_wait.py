"""Waiting for a typed line, which news from another thread interrupts.

A line editor waits in C, so only a signal reaches it. Python runs the handler in the main thread,
where it raises: the editor then restores the terminal. SIGURG is ignored by default, so one that
comes late does no harm.

A signal that comes just before the wait begins, or to the other thread, does not end the wait: that
is so for ours and for Ctrl-C alike. Python writes the number of each signal to a pipe; the other
thread reads it there, and sends ours a little later. Windows has no SIGURG: there, news and the end
of the connection are noticed at the next line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from esps_portal.cli.signals import handlers_errors_as_raised

_Line = TypeVar("_Line")
# More bytes than the signals that come before they are read.
_MANY = 4096
_SIGNAL: signal.Signals | None = getattr(signal, "SIGURG", None)


class WokenError(Exception):
    """There is news: what was typed of the line is still there for the next wait."""


class PromptWait:
    """Where the main thread waits for lines.

    Args:
        show: prints a line of news.
        holds_news: whether news must not be printed during the wait: there is a prompt.
        may_wake: asked before a wait is interrupted, in the main thread.

    Attributes:
        signals: the descriptor on which the numbers of signals can be read; -1: there is none.
    """

    def __init__(
        self, show: Callable[[str], None], *, holds_news: bool, may_wake: Callable[[], bool]
    ) -> None:
        self.signals: int = -1
        self._show = show
        self._holds_news = holds_news
        self._may_wake = may_wake
        self._news: deque[str] = deque()
        self._has_ended = False
        self._is_waiting = False
        self._lock = threading.Lock()
        self._thread = threading.main_thread().ident

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signal within the block, which is the main thread's."""
        if _SIGNAL is None:
            yield
            return
        self.signals, sender = os.pipe()
        os.set_blocking(sender, False)
        before = signal.signal(_SIGNAL, self._on_signal)
        pipe_before = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(pipe_before)
            signal.signal(_SIGNAL, before)
            for end in (self.signals, sender):
                os.close(end)

    def wait(self, read: Callable[[], _Line]) -> _Line:
        """Return what ``read`` returns, and print the news that came meanwhile.

        Raises:
            WokenError: there is news.
        """
        try:
            with self._lock:
                self._is_waiting = True
            with handlers_errors_as_raised():
                return read()
        finally:
            with self._lock:
                self._is_waiting = False

    def show_news(self) -> None:
        """Print the news that came during a wait."""
        while self._news:
            self._show(self._news.popleft())

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        if self._is_waiting and self._has_news and self._may_wake():
            self._is_waiting = False
            raise WokenError

    # ---- for the other thread ------------------------------------------------------------------

    def add_news(self, line: str) -> None:
        """Print a line, now or, if there is a prompt, once `wake` has interrupted the wait."""
        with self._lock:
            if self._is_waiting and self._holds_news:
                self._news.append(line)
            else:
                self._show(line)

    def end(self) -> None:
        """Interrupt each wait from now on."""
        self._has_ended = True

    @property
    def _has_news(self) -> bool:
        return self._has_ended or bool(self._news)

    def wake(self) -> bool:
        """Interrupt the wait, if there is news; return whether to try again soon."""
        if not (self._is_waiting and self._has_news):
            return False
        return self._send_signal()

    def repeat_signals(self) -> None:
        """Have the handlers of other signals run that have come before a wait: for a reply, too."""
        if set(os.read(self.signals, _MANY)) != {_SIGNAL}:
            self._send_signal()

    def _send_signal(self) -> bool:
        """Send ours to the main thread, whose handler minds news alone; return whether we can."""
        if _SIGNAL is None or self._thread is None:
            return False
        signal.pthread_kill(self._thread, _SIGNAL)
        return True
