"""The steps of a vector, carried out over TCP."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.pressure import (
    expect_discarding,
    expect_gone,
    flood,
    wait_for_reset,
)
from esps_portal.conformance.reading import Expectation, judge_form
from esps_portal.conformance.steps import (
    Discarded,
    End,
    Expect,
    ExpectedLine,
    Fin,
    Flood,
    Gone,
    Open,
    Rst,
    Send,
    Shutdown,
    Silence,
    Step,
    Urgent,
)
from esps_portal.conformance.target import Target
from esps_portal.conformance.tcp_connection import Connection
from esps_portal.conformance.template import Run
from esps_portal.conformance.tls_socket import TLSSocket
from esps_portal.conformance.traffic import Traffic

# To send a byte alone, on a machine that is busy with much else.
_SECONDS_A_BYTE = 0.02


@attrs.define(eq=False)
class TcpSession:
    """Carries out steps on named connections.

    Attributes:
        reply_timeout: seconds to wait for what must come.
        bytewise: send each byte alone.
        acted_at: when this side last began to open, to send or to end; what may not come too early
            is measured from there, since nothing is known of when a line came before it was read.
    """

    target: Target
    run: Run
    traffic: Traffic
    reply_timeout: float
    bytewise: bool
    connections: dict[str, Connection] = attrs.field(factory=dict)
    acted_at: float = attrs.field(init=False, factory=trio.current_time)

    async def carry_out(self, step: Step) -> None:
        """Carry out a step.

        Raises:
            MismatchError: the server does something else than it allows.
            OSError: the server cannot be reached.
        """
        if not isinstance(step, Expect | Silence | End | Discarded | Gone):
            self.acted_at = trio.current_time()
        method = self._methods()[type(step)]
        await method(step)

    def _methods(self) -> dict[type, Callable[[Any], Awaitable[None]]]:
        return {
            Open: self._open,
            Send: self._send,
            Urgent: self._send_urgent,
            Expect: self._expect,
            Silence: self._silence,
            End: self._end,
            Discarded: self._discarded,
            Gone: self._gone,
            Flood: self._flood,
            Fin: self._fin,
            Rst: self._rst,
            Shutdown: self._shutdown,
        }

    async def finish(self) -> None:
        """Check that nothing more has come on any open connection, and that it still answers."""
        for connection in self.connections.values():
            if connection.probed:
                await self._probe(connection)

    def close(self) -> None:
        """Reset every connection, so that the server keeps nothing of it."""
        for connection in self.connections.values():
            connection.reset()

    def closed(self) -> dict[str, str]:
        """Return how the server ended the connections that it has ended."""
        return {c.name: c.ended for c in self.connections.values() if c.ended}

    async def _open(self, step: Open) -> None:
        sock = trio.socket.socket(self.target.family, socket.SOCK_STREAM)
        try:
            with trio.fail_after(self.reply_timeout):
                transport = await self._connect(sock)
        except BaseException:
            sock.close()
            raise
        connection = Connection(step.on, transport, self.traffic, sock.getsockname()[:2])
        self.traffic.note(step.on, connection.local, "opened")
        self.run.keep_address(connection.local)
        self.connections[step.on] = connection
        await self._expect(Expect(step.on, (ExpectedLine(step.greeting),)))
        if step.hello:
            await self._ask(connection, "HELLO ESPS/1", "OK ESPS/1 {text}")

    async def _connect(self, sock: trio.socket.SocketType) -> trio.socket.SocketType | TLSSocket:
        await sock.connect(self.target.address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.target.tls is None:
            return sock
        over_tls = TLSSocket(sock, self.target.tls, self.target.host)
        await over_tls.shake_hands()
        return over_tls

    async def _send(self, step: Send) -> None:
        for number in range(1, self.run.count(step.repeat) + 1):
            data = self.run.fill(step.data, number).encode("latin-1")
            takes = _SECONDS_A_BYTE * len(data) if self.bytewise else 0
            with trio.move_on_after(self.reply_timeout + takes) as waiting:
                await self.connections[step.on].send(data, bytewise=self.bytewise)
            if waiting.cancelled_caught:
                allowed = f"what is sent is read within {self.reply_timeout:g} s"
                raise MismatchError("time", allowed, came_text="it is not read")

    async def _send_urgent(self, step: Urgent) -> None:
        await self.connections[step.on].send_urgent(step.octet.encode("latin-1"))

    async def _probe(self, connection: Connection) -> None:
        await self._ask(connection, "PING", "OK")

    async def _ask(self, connection: Connection, request: str, reply: str) -> None:
        """Send a request of the runner's own; its reply is the next line."""
        tag = self.run.name(f"z{len(self.run.names)}")
        await connection.send(f"{tag} {request}\n".encode(), bytewise=False)
        expected = ExpectedLine(f"{tag} {reply}")
        await self._expect(Expect(connection.name, (expected,)))

    async def _expect(self, step: Expect) -> None:
        connection = self.connections[step.on]
        expectation = Expectation(step, self.run)
        limit = self.reply_timeout if step.at_most is None else step.at_most
        with trio.move_on_after(limit):
            while not expectation.is_met:
                line = await connection.line()
                if line is None:
                    raise expectation.ended(connection.ended, bytes(connection.unread))
                judge_form(line)
                expectation.take(line, trio.current_time() - self.acted_at)
        if not expectation.is_met:
            raise expectation.too_late(limit, bytes(connection.unread))

    async def _silence(self, step: Silence) -> None:
        connection = self.connections[step.on]
        if step.seconds is None:
            await self._probe(connection)
            return
        if not connection.unread:
            with trio.move_on_after(step.seconds):
                await connection.receive()
        if connection.unread:
            raise MismatchError("silence", "nothing", bytes(connection.unread))
        if connection.ended:
            raise MismatchError("close", "an open connection", came_text=connection.ended)

    async def _end(self, step: End) -> None:
        connection = self.connections[step.on]
        connection.probed = False
        limit = self.reply_timeout if step.at_most is None else step.at_most
        fragment = self.run.fill(step.fragment)
        allowed = f"{step.how.upper()} within {limit:g} s" if step.how != "any" else "the end"
        with trio.move_on_after(limit):
            with trio.move_on_after(step.unread):
                await wait_for_reset(connection)
            while await connection.receive():
                if step.discard or step.unread:
                    connection.unread.clear()
                elif b"\n" in connection.unread or len(connection.unread) > len(fragment):
                    break
        rest = connection.unread.decode("latin-1")
        if rest != fragment:
            raise MismatchError("silence", allowed, bytes(connection.unread))
        if not connection.ended:
            raise MismatchError("close", allowed, came_text="it is still open")
        if step.how not in ("any", connection.ended):
            raise MismatchError("close", allowed, came_text=connection.ended.upper())
        taken = trio.current_time() - self.acted_at
        if taken < step.at_least:
            raise MismatchError(
                "time", f"{allowed}, not before {step.at_least:g} s", came_text=f"{taken:.3f} s"
            )

    async def _discarded(self, step: Discarded) -> None:
        await expect_discarding(self.connections[step.on], step.seconds)

    async def _gone(self, step: Gone) -> None:
        await expect_gone(self.connections[step.on], step.at_most)

    async def _flood(self, step: Flood) -> None:
        self.connections[step.on].probed = False
        await flood(self.connections[step.on], self.run.fill(step.data).encode("latin-1"))

    async def _fin(self, step: Fin) -> None:
        self.connections[step.on].finish_writing()
        self.connections[step.on].probed = False

    async def _rst(self, step: Rst) -> None:
        self.connections[step.on].reset()
        self.connections[step.on].probed = False

    async def _shutdown(self, _: Shutdown) -> None:
        self.target.shut_down()
