"""What is sent before an end, what is not sent after it, and what the journal has of both."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from esps_portal import CallContext, Limits
from esps_portal.faults.fault import Fault
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import in_memory, running

# The replies nearly fill a pipe in memory: there is room for 5540 bytes.
LINE = b"p PING %b\n" % (b"x" * 5990)
FILLING = LINE * 10


def scripted(*services: Callable[..., Any], **limits: float) -> ScriptedPortal:
    portal = builtin_portal("test/1", Limits(**limits))  # type: ignore[arg-type]
    for service in services:
        portal.service(service)
    return ScriptedPortal(portal)


def place(portal: ScriptedPortal, kind: str, **said: Any) -> None:  # noqa: ANN401 - fault's own
    portal.script.faults.place(Fault.create(kind, **said))


def how_it_ended(portal: ScriptedPortal) -> tuple[str, str]:
    (connection,) = portal.script.journal.connections
    return connection.closed_by, connection.how


async def flood(*, call: CallContext) -> None:
    """Send more than a pipe in memory holds, and run on."""
    for _ in range(70):
        await call.data("x" * 1000)
    await trio.sleep_forever()


@pytest.mark.parametrize("kind", ["stall", "half-close"])
async def test_what_is_held_is_not_sent_after_the_end(
    kind: str, mock_clock: trio.testing.MockClock
) -> None:
    portal = scripted(idle=1000)
    place(portal, "coalesce", service="echo", replies=2, seconds=10)
    place(portal, kind, service="version")
    async with in_memory(portal) as connection:
        await connection.send(b"a CALL echo x\nb CALL version\n")
        assert (await connection.client.receive_some()).startswith(b"* ESPS/1")
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(10)
        await trio.testing.wait_all_tasks_blocked()
        assert not connection.ended.is_set()
        await connection.client.send_eof()
        assert await connection.rest() == b""


@pytest.mark.parametrize("kind", ["close", "half-close", "reset", "stall"])
async def test_what_was_sent_before_comes_before_the_end(kind: str) -> None:
    """Another task sends, and waits for room, when the fault ends the connection."""
    portal = scripted(flood)
    place(portal, kind, service="echo")
    async with in_memory(portal) as connection:
        await connection.send(b"f CALL flood\n")
        await connection.send(b"a CALL echo x\n")
        if kind in ("stall", "half-close"):
            await connection.client.send_eof()
        found = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await connection.client.receive_some():
                found += data
        assert found.count(b"\nf DATA ") == found.count(b"\n") - 1 >= 65
        assert found.endswith(b"\n")


async def test_a_shutdown_does_not_follow_a_truncated_line() -> None:
    portal = scripted()
    place(portal, "truncate", service="echo", bytes=6)
    async with in_memory(portal) as connection:
        # The beginning of the reply waits for room when the shutdown comes.
        await connection.send(FILLING)
        await connection.send(LINE + b"a CALL echo xyz\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.server.shut_down)
            await trio.testing.wait_all_tasks_blocked()
            found = await connection.rest()
            await connection.client.send_eof()
        assert found.endswith(b"x\na OK x")
    assert how_it_ended(portal) == ("portal", "fin")


@pytest.mark.parametrize("kind", ["close", "reset", "stall"])
async def test_an_end_during_the_drain_is_the_end(kind: str) -> None:
    may_end = trio.Event()

    async def work() -> None:
        await may_end.wait()

    portal = scripted(work, drain=1000)
    place(portal, kind, service="work")
    async with in_memory(portal) as connection:
        await connection.send(b"w CALL work\ns CALL stall\nq QUIT\n")
        assert (await connection.client.receive_some()).startswith(b"* ESPS/1")
        may_end.set()
        await trio.testing.wait_all_tasks_blocked()
        if kind == "reset":
            with pytest.raises(trio.BrokenResourceError):
                await connection.client.receive_some()
        elif kind == "close":
            assert await connection.rest() == b""
        await connection.client.aclose()
        await connection.ended.wait()
    states = [(call.tag, call.state) for call in portal.script.journal.calls]
    assert states == [("w", "faulted"), ("s", "aborted"), ("q", "aborted")]


@pytest.mark.parametrize(
    ("fault", "jumps"),
    [
        ({"kind": "slice", "pause": 600}, (10, 10)),  # the loop had no turn in all of the drain
        ({"kind": "latency", "seconds": 10}, (5, 5)),  # due when the drain ends
    ],
)
async def test_no_call_is_answered_twice_at_the_end_of_the_drain(
    fault: dict[str, Any], jumps: tuple[int, ...], mock_clock: trio.testing.MockClock
) -> None:
    for _ in range(20):  # what is due at once runs in any order
        portal = scripted(drain=10)
        place(portal, service="delay", **fault)
        async with in_memory(portal) as connection:
            await connection.send(b"a CALL delay 0 xyz\nb QUIT\n")
            for seconds in jumps:
                mock_clock.jump(seconds)
                await trio.testing.wait_all_tasks_blocked()
            await connection.client.send_eof()
            lines = (await connection.rest()).splitlines()
        assert [line.split()[0] for line in lines] == [b"*", b"a", b"b"]
        (call, _) = portal.script.journal.calls
        assert call.sent == lines[1] + b"\n"


async def test_a_shutdown_in_the_moment_of_idleness(mock_clock: trio.testing.MockClock) -> None:
    portal = builtin_portal("test/1", Limits(idle=600))
    async with in_memory(portal) as connection, trio.open_nursery() as nursery:
        assert (await connection.client.receive_some()).startswith(b"* ESPS/1")
        (served,) = connection.server.connections
        await connection.client.send_all(b"a PING\n")
        mock_clock.jump(600)
        served.expire()
        nursery.start_soon(connection.server.shut_down)
        assert await connection.rest() == b"a OK\n* BYE closing\n"
        await connection.client.send_eof()


async def test_a_reply_that_an_end_overtakes_was_not_sent() -> None:
    async def work() -> str:
        return "x" * 7000

    portal = scripted(work)
    place(portal, "truncate", service="work", bytes=6000)
    async with in_memory(portal) as connection:
        await connection.send(FILLING)
        await connection.send(b"w CALL work\n")
        await connection.send(b"a PING\n")
        found = await connection.rest()
        await connection.client.send_eof()
        await connection.ended.wait()
        assert found.endswith(b"\nw OK " + b"x" * 5995)
    ping = portal.script.journal.calls[-1]
    assert (ping.tag, ping.state, ping.sent) == ("a", "aborted", b"")


async def test_what_a_client_sent_before_its_reset_is_in_the_journal() -> None:
    portal = scripted()
    async with running(portal) as listening:
        for _ in range(20):
            # It comes so early that not even the greeting can be sent.
            with socket.create_connection(listening.listeners.tcp[0]) as client:
                client.sendall(b"a CALL count\nb PING\nc PI")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        journal = portal.script.journal
        while len(journal.connections) < 20 or any(c.closed is None for c in journal.connections):
            await trio.lowlevel.checkpoint()
        seen = [(call.verb, call.state) for call in journal.calls]
        assert seen == [("CALL", "aborted"), ("PING", "aborted")] * 20
        assert {(found.closed_by, found.how) for found in journal.connections} == {
            ("client", "rst")
        }
        peer = await listening.tcp()
        await peer.send(b"a CALL count\n")
        assert await peer.line() == b"a OK 1"


async def test_what_waits_when_a_reply_meets_the_reset_is_in_the_journal() -> None:
    """A line that was read and not yet looked at, and one that was not read."""
    portal = scripted(flood)
    async with in_memory(portal) as connection:
        await connection.send(b"f CALL flood\n")
        await connection.send(FILLING)
        await connection.send(LINE + b"y CALL count\n")
        await connection.send(b"z CALL count\n")
        connection.stream._outgoing.reset()  # noqa: SLF001 - a kernel keeps what has come
        await connection.ended.wait()
    found = [(call.tag, call.state) for call in portal.script.journal.calls]
    assert found[-2:] == [("y", "aborted"), ("z", "aborted")]
    assert len(found) == 14
    assert how_it_ended(portal) == ("client", "rst")
