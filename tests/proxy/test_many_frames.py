"""Thousands of frames that come in one read."""

from __future__ import annotations

import time

from esps_portal.testing import lines, proxy_in_thread
from tests.fuzz.servers import echo, said

_FRAMES = 5000


def test_many_frames_at_once_take_no_longer_than_one_by_one() -> None:
    data = b"x\n" * _FRAMES
    with echo() as port, proxy_in_thread(f"tcp://127.0.0.1:{port}", framing=lines("\n")) as proxy:
        before = time.process_time()
        assert said(proxy.port, data) == data
        # Some tenths of a second; where each looked at all before it, that were ten seconds.
        assert time.process_time() - before < 3
