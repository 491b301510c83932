"""What a drain meets besides calls that end: a CANCEL that waits, a peer that misbehaves."""

from __future__ import annotations

import trio

from esps_portal import Portal
from tests.portals import running


async def test_a_cancel_that_waits_is_answered_by_a_portal_that_closes() -> None:
    portal = Portal()
    cancelled, may_end = trio.Event(), trio.Event()

    @portal.service
    async def reluctant() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()
            with trio.CancelScope(shield=True):
                await may_end.wait()

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL reluctant\nb CANCEL a\n")
        assert await client.line() == b"a ERR cancelled"
        await cancelled.wait()
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        may_end.set()
        assert await client.line() == b"b OK"
        assert await client.line() == b""


async def test_an_endless_line_ends_the_drain_at_once() -> None:  # ESPS-LINE-18
    async with running(drain=1000) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\n")
        await client.send(b"b PING\n")
        assert await client.line() == b"b OK"
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        await client.send(b"x" * 65536)
        assert (await client.line()).startswith(b"* ERR too-long ")
        assert await client.line() == b""
