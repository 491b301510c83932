"""What a drain meets besides calls that end: a CANCEL that waits, a peer that misbehaves."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
import trio.testing

from esps_portal import Limits, Portal
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.product import PRODUCT
from esps_portal.server import answerer
from esps_portal.services.builtin_portal import builtin_portal
from tests.patience import PATIENCE
from tests.portals import StreamPeer, running


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a cancelled call take its time, however slow the machine is."""
    monkeypatch.setattr(answerer, "CANCELLED", PATIENCE)


class Reluctant:
    """A service that is cancelled, and does not end before it may."""

    def __init__(self, portal: Portal) -> None:
        self.cancelled, self.may_end = trio.Event(), trio.Event()
        portal.service(name="reluctant")(self._run)

    async def _run(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
            with trio.move_on_after(PATIENCE, shield=True):
                await self.may_end.wait()


@pytest.mark.parametrize("scripted", [False, True])
async def test_a_cancel_that_waits_is_answered_by_a_portal_that_closes(
    scripted: bool,
) -> None:  # ESPS-VERB-21, ESPS-TCP-7
    portal = Portal()
    reluctant = Reluctant(portal)
    script = ScriptedPortal(portal) if scripted else None
    async with running(script or portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL reluctant\nb CANCEL a\nc PING\n")
        assert await client.line() == b"a ERR cancelled"
        await reluctant.cancelled.wait()
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        await trio.testing.wait_all_tasks_blocked()
        reluctant.may_end.set()
        assert await client.line() == b"b OK"
        assert (await client.line()).startswith(b"c ERR closing ")
        assert await client.line() == b""
    if script is not None:
        cancel = script.script.journal.calls[1]
        assert (cancel.state, cancel.sent) == ("replied", b"b OK\n")


@pytest.mark.parametrize("scripted", [False, True])
async def test_a_cancel_that_waits_for_longer_than_the_drain(
    scripted: bool,
) -> None:  # ESPS-END-7
    limits = Limits(drain=0.5)  # the CANCEL waits as long, from when it comes
    portal = Portal(limits=limits)
    reluctant = Reluctant(portal)
    script = ScriptedPortal(portal) if scripted else None
    async with running(script or portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL reluctant\nb CANCEL a\n")
        assert await client.line() == b"a ERR cancelled"
        listening.shut_down()
        assert await client.line() == b"* BYE closing"
        assert (await client.line()).startswith(b"b ERR closing ")
        assert await client.line() == b""
        reluctant.may_end.set()
    if script is not None:
        cancel = script.script.journal.calls[1]
        assert cancel.sent.startswith(b"b ERR closing ")


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


async def test_the_journal_has_what_a_call_was_refused_with_at_the_end_of_the_drain() -> None:
    portal = ScriptedPortal(builtin_portal(PRODUCT, Limits(drain=0.05)))
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL stall\nb QUIT\n")
        assert (await client.line()).startswith(b"a ERR closing ")
        assert await client.line() == b"b OK"
        await client.stream.aclose()
    call, quit_ = portal.script.journal.calls
    assert (call.state, call.sent.split()[:3]) == ("aborted", [b"a", b"ERR", b"closing"])
    assert (quit_.state, quit_.sent) == ("replied", b"b OK\n")


async def test_all_who_wait_to_be_accepted_are_told_that_the_portal_ends() -> None:  # ESPS-END-5
    async with running() as listening, contextlib.AsyncExitStack() as stack:
        clients = []
        # Nothing is awaited: the kernel has connected them, and the portal has seen none. They are
        # more than it accepts in a row.
        for _ in range(100):
            connected = socket.create_connection(listening.listeners.tcp[0])
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(connected))
            stack.push_async_callback(trio.aclose_forcefully, stream)
            clients.append(StreamPeer(stream))
        listening.shut_down()
        for client in clients:
            assert (await client.line()).startswith(b"* ESPS/1 ")
            assert await client.line() == b"* BYE closing"
            assert await client.line() == b""
