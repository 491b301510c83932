"""What clients can send is small while nobody may be read."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from esps_portal.faults.fault import Fault
from esps_portal.faults.fault_registry import FaultRegistry
from esps_portal.net.accept_policy import AcceptPolicy
from esps_portal.net.bind import bind
from esps_portal.net.connection_server import ConnectionServer
from esps_portal.net.input_limit import InputLimit
from esps_portal.net.port_control import PortControl

SMALL = {8192}  # socket(7): the kernel doubles what is set


async def test_listeners_are_limited_while_a_deaf_fault_is_in_force() -> None:
    """New ones too, and those of before once more as they were."""
    faults = FaultRegistry()
    sockets = bind(("127.0.0.1",), 0, udp=False, reserve_port=True)

    async def sizes() -> set[int]:
        await trio.testing.wait_all_tasks_blocked()
        return {s.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for s in sockets.tcp}

    async with trio.open_nursery() as nursery:
        policy = AcceptPolicy(max_connections=1)
        connections = ConnectionServer(lambda *_: pytest.fail("none"), policy, nursery)
        ports = PortControl(
            sockets, connections, lambda _: pytest.fail("none"), lambda: None, nursery
        )
        nursery.start_soon(InputLimit(faults, connections).run)
        ports.begin()
        normal = await sizes()
        fault = faults.place(Fault.create("deaf"))
        assert await sizes() == SMALL
        ports.down()
        ports.up()
        assert await sizes() == SMALL
        ports.down()
        faults.remove(fault)
        ports.up()
        assert await sizes() == normal
        faults.place(Fault.create("reset"))
        assert await sizes() == normal
        faults.place(Fault.create("deaf"))
        assert await sizes() == SMALL
        faults.clear()
        assert await sizes() == normal
        ports.close()
        nursery.cancel_scope.cancel()
    assert faults.on_change == []


async def test_a_fault_that_was_there_first_limits_what_listens_later() -> None:
    faults = FaultRegistry()
    faults.place(Fault.create("deaf"))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    async with trio.open_nursery() as nursery:
        policy = AcceptPolicy(max_connections=1)
        connections = ConnectionServer(lambda *_: pytest.fail("none"), policy, nursery)
        nursery.start_soon(InputLimit(faults, connections).run)
        nursery.start_soon(connections.acceptor.accept, listener)
        await trio.testing.wait_all_tasks_blocked()
        assert {listener.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)} == SMALL
        nursery.cancel_scope.cancel()
    assert connections.acceptor.listeners == {}
