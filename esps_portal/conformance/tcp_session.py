"""The steps of a vector, carried out over TCP."""

from __future__ import annotations

import os
import signal
import socket
import struct

import attrs
import trio

from esps_portal.conformance.outcome import MismatchError
from esps_portal.conformance.reading import Expectation, judge_form
from esps_portal.conformance.steps import (
    End,
    Expect,
    ExpectedLine,
    Fin,
    Open,
    Rst,
    Send,
    Shutdown,
    Silence,
    Step,
)
from esps_portal.conformance.target import Target
from esps_portal.conformance.template import Run
from esps_portal.conformance.traffic import Traffic

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds; then close() sends RST
# Above, byte by byte would say nothing new, and take long.
_MAX_BYTEWISE = 10_000
# No line is longer than the greatest max-line that a vector asks for.
_MAX_UNREAD = 1 << 20


@attrs.define(eq=False)
class Connection:
    """One connection to the server.

    Attributes:
        ended: how the server ended it: ``fin``, ``rst``, or empty while it is open.
        probed: whether it is still to be asked whether it works, at the end.
    """

    name: str
    socket: trio.socket.SocketType
    traffic: Traffic
    local: tuple[str, int]
    unread: bytearray = attrs.field(factory=bytearray)
    ended: str = ""
    probed: bool = True
    _send_failed: bool = False

    async def send(self, data: bytes, *, bytewise: bool) -> None:
        """Send bytes. A connection that the server has ended takes none: that is judged later."""
        pieces = [data]
        if bytewise and len(data) <= _MAX_BYTEWISE:
            pieces = [data[i : i + 1] for i in range(len(data))]
        try:
            for piece in pieces:
                await self._send_all(piece)
        except OSError:
            self._send_failed = True

    async def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            sent = await self.socket.send(view)
            self.traffic.note(self.name, self.local, "data", "client", bytes(view[:sent]))
            view = view[sent:]

    async def receive(self) -> bool:
        """Read more; return whether there was any before the end."""
        if self.ended:
            return False
        try:
            data = await self.socket.recv(65536)
        except OSError:
            data, self._send_failed = b"", True
        if not data:
            # Where sending has met a reset already, reading meets an end without an error.
            self.ended = "rst" if self._send_failed else "fin"
            self.traffic.note(
                self.name, self.local, "rst" if self._send_failed else "fin", "server"
            )
            return False
        self.traffic.note(self.name, self.local, "data", "server", data)
        self.unread += data
        return True

    async def line(self) -> bytes | None:
        """Return the next line without its LF; ``None`` at the end."""
        while (end := self.unread.find(b"\n")) < 0:
            if len(self.unread) > _MAX_UNREAD or not await self.receive():
                return None
        line = bytes(self.unread[:end])
        del self.unread[: end + 1]
        return line

    def finish_writing(self) -> None:
        """Send a FIN."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._send_failed = True
        self.traffic.note(self.name, self.local, "fin", "client")

    def reset(self) -> None:
        """Send a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()
        if not self.ended:
            self.traffic.note(self.name, self.local, "rst", "client")


@attrs.define(eq=False)
class TcpSession:
    """Carries out steps on named connections.

    Attributes:
        patience: seconds to wait for what must come.
        bytewise: send each byte alone.
    """

    target: Target
    run: Run
    traffic: Traffic
    patience: float
    bytewise: bool
    connections: dict[str, Connection] = attrs.field(factory=dict)

    async def carry_out(self, step: Step) -> None:
        """Carry out a step.

        Raises:
            MismatchError: the server does something else than it allows.
            OSError: the server cannot be reached.
        """
        match step:
            case Open():
                await self._open(step)
            case Send():
                for number in range(1, self.run.count(step.repeat) + 1):
                    data = self.run.fill(step.data, number).encode("latin-1")
                    await self._send(self.connections[step.on], data)
            case Expect():
                await self._expect(step)
            case Silence():
                await self._silence(step)
            case End():
                await self._end(step)
            case Fin():
                self.connections[step.on].finish_writing()
                self.connections[step.on].probed = False
            case Rst():
                self.connections[step.on].reset()
                self.connections[step.on].probed = False
            case Shutdown():
                os.kill(self.target.process, signal.SIGTERM)

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
            with trio.fail_after(self.patience):
                await sock.connect(self.target.address)
        except BaseException:
            sock.close()
            raise
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(step.on, sock, self.traffic, sock.getsockname()[:2])
        self.traffic.note(step.on, connection.local, "opened")
        self.connections[step.on] = connection
        await self._expect(Expect(step.on, (ExpectedLine(step.greeting),)))
        if step.hello:
            await self._ask(connection, "HELLO ESPS/1", "OK ESPS/1 {text}")

    async def _send(self, connection: Connection, data: bytes) -> None:
        with trio.move_on_after(self.patience) as waiting:
            await connection.send(data, bytewise=self.bytewise)
        if waiting.cancelled_caught:
            allowed = f"what is sent is read within {self.patience:g} s"
            raise MismatchError("time", allowed, came_text="it is not read")

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
        limit = self.patience if step.at_most is None else step.at_most
        started = trio.current_time()
        with trio.move_on_after(limit):
            while not expectation.is_met:
                line = await connection.line()
                if line is None:
                    raise expectation.ended(connection.ended, bytes(connection.unread))
                judge_form(line)
                expectation.take(line, trio.current_time() - started)
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
        started = trio.current_time()
        limit = self.patience if step.at_most is None else step.at_most
        allowed = f"{step.how.upper()} within {limit:g} s" if step.how != "any" else "the end"
        with trio.move_on_after(limit):
            while await connection.receive():
                if step.discard:
                    connection.unread.clear()
                elif b"\n" in connection.unread or not step.fragment:
                    break
        rest = connection.unread.decode("latin-1")
        if rest != self.run.fill(step.fragment):
            raise MismatchError("silence", allowed, bytes(connection.unread))
        if not connection.ended:
            raise MismatchError("close", allowed, came_text="it is still open")
        if step.how not in ("any", connection.ended):
            raise MismatchError("close", allowed, came_text=connection.ended.upper())
        taken = trio.current_time() - started
        if taken < step.at_least:
            raise MismatchError(
                "time", f"{allowed}, not before {step.at_least:g} s", came_text=f"{taken:.3f} s"
            )
