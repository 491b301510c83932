"""Signals that come before the main thread waits: a lock is not left for what has come already."""

from __future__ import annotations

import signal
import threading

import pytest

from esps_portal.cli.prompt_wait import PromptWait


def test_a_signal_before_a_wait_for_a_reply_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = PromptWait(print, holds_news=False, may_wake=lambda: True)
    sent: list[tuple[int, int]] = []
    before = signal.signal(signal.SIGUSR1, lambda _, __: None)
    try:
        with waiting.installed(), monkeypatch.context() as patch:
            patch.setattr(signal, "pthread_kill", lambda *args: sent.append(args))
            signal.raise_signal(signal.SIGUSR1)
            waiting.repeat_signals()
            signal.raise_signal(signal.SIGURG)  # ours is not repeated
            waiting.repeat_signals()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert sent == [(threading.main_thread().ident, signal.SIGURG)]
