"""Waiting for calls; the rest is tested where somebody waits."""

from __future__ import annotations

from esps_portal.portal.journal import Journal
from esps_portal.protocol.messages import Request
from esps_portal.testing.waiting import begin


def test_a_call_may_come_when_whoever_waited_has_just_given_up() -> None:
    journal = Journal()
    waiting, given_up = begin(journal, "echo", 1), begin(journal, "echo", 1)
    assert given_up.future.cancel()  # as asyncio does at a time-out, before it says so
    call = Request(b"a", b"CALL", (b"echo",))
    journal.received("udp", ("127.0.0.1", 1), None, b"a CALL echo", call, 0.0)
    assert waiting.future.done()
    assert not journal.watches
