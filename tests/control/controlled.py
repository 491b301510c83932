"""A portal with a control port, and clients of both, over real sockets."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import attrs
import trio

from esps_portal import ServerConfig, serve
from esps_portal.control.control import serve_control
from esps_portal.faults.fault import Fault
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.product import PRODUCT
from esps_portal.protocol.messages import DATA, OK, Reply, Request, parse_answer_untrusted
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import DatagramPeer, Running, StreamPeer


@attrs.define
class Answered:
    """What came under one tag."""

    values: list[Any]
    kind: bytes
    words: tuple[str, ...]


@attrs.define
class Controller:
    """A client of a control port."""

    peer: StreamPeer
    _sent: int = 0

    async def send(self, service: str, *values: object) -> bytes:
        """Ask without waiting for the answer; return the tag."""
        self._sent += 1
        tag = b"%d" % self._sent
        args = (service.encode(), *(json.dumps(value).encode() for value in values))
        await self.peer.send(Request(tag, b"CALL", args).encode())
        return tag

    async def answer(self, tag: bytes) -> Answered:
        """Return what answers the next request, which is this one."""
        values: list[Any] = []
        while True:
            reply = parse_answer_untrusted(await self.peer.line())
            assert isinstance(reply, Reply)
            assert reply.tag == tag
            if reply.kind != DATA:
                return Answered(values, reply.kind, tuple(arg.decode() for arg in reply.args))
            (value,) = reply.args
            values.append(json.loads(value))

    async def ask(self, service: str, *values: object) -> Answered:
        """Ask and wait for the answer."""
        return await self.answer(await self.send(service, *values))

    async def do(self, service: str, *values: object) -> list[Any]:
        """Ask for what is not refused; return the values."""
        answered = await self.ask(service, *values)
        assert (answered.kind, answered.words) == (OK, ())
        return answered.values

    async def refused(self, service: str, *values: object) -> str:
        """Ask for what is refused; return code and words."""
        answered = await self.ask(service, *values)
        assert answered.kind == b"ERR"
        return " ".join(answered.words)


@attrs.define
class Controlled:
    """A portal with a control port."""

    data: Running
    control: Running
    portal: ScriptedPortal
    told: list[Fault]

    async def controller(self) -> Controller:
        return Controller(await self.control.tcp())

    async def tcp(self) -> StreamPeer:
        return await self.data.tcp()

    def udp(self) -> DatagramPeer:
        return self.data.udp()


@contextlib.asynccontextmanager
async def controlled() -> AsyncIterator[Controlled]:
    portal = ScriptedPortal(builtin_portal(PRODUCT))
    told: list[Fault] = []
    config = ServerConfig(portal=portal, port=0, reserve_port=True)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(serve, config)

        async def control(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
            await serve_control(
                portal, listeners.ports, on_fault=told.append, task_status=task_status
            )

        address = await nursery.start(control)
        async with contextlib.AsyncExitStack() as stack:
            with trio.fail_after(30):
                yield Controlled(
                    Running(listeners, stack),
                    Running(attrs.evolve(listeners, tcp=(address,)), stack),
                    portal,
                    told,
                )
        nursery.cancel_scope.cancel()
