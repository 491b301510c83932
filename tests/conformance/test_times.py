"""What may not come too early is measured from what this side did, not from when it looked."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.steps import Expect, ExpectedLine, Open, Send
from esps_portal.conformance.target import Target
from esps_portal.conformance.tcp_session import TcpSession
from esps_portal.conformance.template import Run
from esps_portal.conformance.traffic import Traffic
from esps_portal.conformance.udp_session import UdpSession

REPLY = Expect("1", (ExpectedLine("{a} OK"),), at_least=0.1)
SECONDS = 30
GREETING = b"* ESPS/1 ready"


def judged(*, early: bool) -> contextlib.AbstractContextManager[object]:
    """Expect the verdict on a reply."""
    if early:
        return pytest.raises(MismatchError, match=r"not before 0\.1 s")
    return contextlib.nullcontext()


def target(address: tuple[str, int]) -> Target:
    limits = {"amplification": 3.0, "max-datagram": 1232.0}
    return Target(socket.AF_INET, address, frozenset({"tcp", "udp"}), limits)


@contextlib.asynccontextmanager
async def over_tcp() -> AsyncIterator[tuple[TcpSession, trio.SocketStream]]:
    """Yield a session that has opened its connection, and the server's end of that."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    at = target(listener.socket.getsockname())
    session = TcpSession(
        at, Run(at.limits), Traffic("tcp", at.address[:2]), SECONDS, bytewise=False
    )
    accepted: list[trio.SocketStream] = []

    async def greet() -> None:
        accepted.append(await listener.accept())
        await accepted[0].send_all(GREETING + b"\n")

    async with listener:
        with contextlib.closing(session):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(greet)
                await session.carry_out(Open("1", GREETING.decode(), hello=False))
            async with accepted[0]:
                yield session, accepted[0]


@pytest.mark.parametrize("early", [True, False])
async def test_over_tcp(*, early: bool, mock_clock: trio.testing.MockClock) -> None:
    async with over_tcp() as (session, server):
        mock_clock.jump(1)  # nothing counts that was before the request
        await session.carry_out(Send("1", "{a} CALL delay 100\n"))
        request = await server.receive_some()
        mock_clock.jump(0.09 if early else 0.1)
        await server.send_all(request.split()[0] + b" OK\n")
        with judged(early=early):
            await session.carry_out(REPLY)


@pytest.mark.parametrize("early", [True, False])
async def test_over_udp(*, early: bool, mock_clock: trio.testing.MockClock) -> None:
    with trio.socket.socket(type=socket.SOCK_DGRAM) as server:
        await server.bind(("127.0.0.1", 0))
        at = target(server.getsockname())
        session = UdpSession(at, Run(at.limits), Traffic("udp", at.address[:2]), SECONDS)
        mock_clock.jump(1)
        await session.carry_out(Send("1", "{a} CALL delay 100\n"))
        request, client = await server.recvfrom(1232)
        mock_clock.jump(0.09 if early else 0.1)
        await server.sendto(request.split()[0] + b" OK\n", client)
        with contextlib.closing(session), judged(early=early):
            await session.carry_out(REPLY)
