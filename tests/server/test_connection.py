"""What a reset of a portal asks each open connection: is it idle, and note it anew."""

from __future__ import annotations

from esps_portal.faults.fault import Fault
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.product import PRODUCT
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import InMemory, in_memory


def is_idle(memory: InMemory) -> bool:
    (connection,) = memory.server.connections
    return connection.is_idle


async def test_it_is_idle_between_requests_only() -> None:
    async with in_memory(builtin_portal(PRODUCT)) as memory:
        assert is_idle(memory)
        await memory.send(b"a CALL delay 60000\n")
        assert not is_idle(memory)
        await memory.send(b"b CANCEL a\n")
        assert is_idle(memory)
        await memory.send(b"c PI")
        assert not is_idle(memory)
        await memory.send(b"NG\n")
        assert is_idle(memory)
        await memory.client.send_all(b"d PING\n")
        assert not is_idle(memory)  # the request has come, and nobody has read it yet
        await memory.client.send_eof()
        await memory.ended.wait()


async def test_it_is_not_idle_while_a_fault_holds_its_reply() -> None:
    portal = ScriptedPortal(builtin_portal(PRODUCT))
    portal.script.faults.place(Fault.create("latency", seconds=1000))
    async with in_memory(portal) as memory:
        assert is_idle(memory)
        await memory.send(b"a PING\n")
        assert not is_idle(memory)


async def test_one_that_stays_gets_a_new_number_in_an_emptied_journal() -> None:
    portal = ScriptedPortal(builtin_portal(PRODUCT))
    journal = portal.script.journal
    async with in_memory(portal) as memory:
        await memory.send(b"a PING\n")
        (before,) = journal.connections
        opened = before.opened
        journal.clear()
        (connection,) = memory.server.connections
        connection.begin_anew()
        await memory.send(b"b PING\n")
        (kept,) = journal.connections
        assert kept is not before
        assert (kept.number, kept.is_kept, kept.opened) == (1, True, opened)
        assert [call.connection for call in journal.calls] == [1]


async def test_one_without_a_journal_is_not_noted() -> None:
    async with in_memory(builtin_portal(PRODUCT)) as memory:
        (connection,) = memory.server.connections
        connection.begin_anew()
        await memory.send(b"a PING\n")
        assert is_idle(memory)
