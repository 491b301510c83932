"""The steps of a vector, carried out over UDP."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

import attrs
import trio

from esps_portal.conformance.outcome import MismatchError, UnsupportedError
from esps_portal.conformance.reading import Expectation, judge_form
from esps_portal.conformance.steps import Expect, ExpectedLine, Open, Send, Shutdown, Silence, Step
from esps_portal.conformance.target import SocketAddress, Target
from esps_portal.conformance.template import Run
from esps_portal.conformance.traffic import Traffic

# A reply that should not be there may come after that of a later request.
_GRACE = 0.02


@attrs.define(eq=False)
class Source:
    """A UDP socket with a port of its own.

    Attributes:
        local: its address and port.
        sent: the length of the last datagram that was sent.
    """

    name: str
    socket: trio.socket.SocketType
    local: tuple[str, int]
    sent: int = 0


@attrs.define(eq=False)
class UdpSession:
    """Carries out steps on named sockets.

    Attributes:
        reply_timeout: seconds to wait for what must come.
        ended: the server was told to end.
        acted_at: when this side last began to send; what may not come too early is measured from
            there.
    """

    target: Target
    run: Run
    traffic: Traffic
    reply_timeout: float
    sources: dict[str, Source] = attrs.field(factory=dict)
    ended: bool = False
    acted_at: float = attrs.field(init=False, factory=trio.current_time)

    async def carry_out(self, step: Step) -> None:
        """Carry out a step.

        Raises:
            MismatchError: the server does something else than it allows.
            OSError: the datagram cannot be sent.
        """
        match step:
            case Open():
                await self._open(step)
            case Send():
                self.acted_at = trio.current_time()
                for number in range(1, self.run.count(step.repeat) + 1):
                    await self._send(step.on, self.run.fill(step.data, number).encode("latin-1"))
            case Expect():
                await self._expect(step)
            case Silence():
                await self._silence(step)
            case Shutdown():
                self.ended = True
                self.target.shut_down()

    async def finish(self) -> None:
        """Check that nothing more has come, unless the server was ended."""
        for source in list(self.sources.values()):
            await self._silence(Silence(source.name, _GRACE if self.ended else None))

    def close(self) -> None:
        """Close the sockets."""
        for source in self.sources.values():
            source.socket.close()

    def closed(self) -> dict[str, str]:
        """Return how the server ended the connections: there are none."""
        return {}

    async def _source(self, name: str) -> Source:
        if name not in self.sources:
            await self._open(Open(name))
        return self.sources[name]

    async def _open(self, step: Open) -> None:
        sock = trio.socket.socket(self.target.family, socket.SOCK_DGRAM)
        try:
            # Not connected: a reply from a wrong address is to be seen.
            host = await self._own_address()
            await _bind(sock, host, range(1023, 599, -1) if step.below_1024 else (0,))
        except BaseException:
            sock.close()
            raise
        self.sources[step.on] = Source(step.on, sock, sock.getsockname()[:2])
        self.run.keep_address(self.sources[step.on].local)

    async def _own_address(self) -> str:
        """Return the address of this machine from which datagrams go to the server."""
        with trio.socket.socket(self.target.family, socket.SOCK_DGRAM) as probe:
            await probe.connect(self.target.address)
            return str(probe.getsockname()[0])

    async def _send(self, on: str, data: bytes) -> None:
        source = await self._source(on)
        await source.socket.sendto(data, self.target.address)
        source.sent = len(data)
        self.traffic.note(on, source.local, "data", "client", data)

    async def _receive(self, source: Source) -> bytes:
        data, address = await source.socket.recvfrom(65536)
        self.traffic.note(source.name, source.local, "data", "server", data)
        self._judge_size(source, data)
        if not _same(address, self.target.address):
            raise MismatchError(
                "source", f"a datagram from {_shown(self.target.address)}", data, _shown(address)
            )
        return data

    def _judge_size(self, source: Source, data: bytes) -> None:
        limits = self.target.limits
        allowed = min(limits["amplification"] * source.sent, limits["max-datagram"])
        if len(data) > allowed:
            raise MismatchError("size", f"at most {allowed:g} bytes (ESPS-UDP-12)", data)

    async def _expect(self, step: Expect) -> None:
        source = await self._source(step.on)
        expectation = Expectation(step, self.run)
        limit = self.reply_timeout if step.at_most is None else step.at_most
        with trio.move_on_after(limit):
            # A repeated step expects as many datagrams.
            for _ in range(self.run.count(step.repeat)):
                data = await self._receive(source)
                taken = trio.current_time() - self.acted_at
                if not data.endswith(b"\n"):
                    raise MismatchError("form", "a line that ends in LF (ESPS-LINE-1)", data)
                for line in data[:-1].split(b"\n"):
                    judge_form(line)
                    if expectation.is_met:
                        raise MismatchError("line", "no further line", data)
                    expectation.take(line, taken)
        if not expectation.is_met:
            raise expectation.too_late(limit, b"")

    async def _silence(self, step: Silence) -> None:
        source = await self._source(step.on)
        if step.seconds is None:
            tag = self.run.name(f"z{len(self.run.names)}")
            await self._send(step.on, f"{tag} PING\n".encode())
            await self._expect(Expect(step.on, (ExpectedLine(f"{tag} OK"),)))
        with trio.move_on_after(_GRACE if step.seconds is None else step.seconds):
            data = await self._receive(source)
            raise MismatchError("silence", "nothing", data)


def _same(address: SocketAddress, other: SocketAddress) -> bool:
    return address[:2] == other[:2]


def _shown(address: SocketAddress) -> str:
    return f"{address[0]} port {address[1]}"


async def _bind(sock: trio.socket.SocketType, host: str, ports: Iterable[int]) -> None:
    """Bind a socket to the first port that is free.

    Raises:
        UnsupportedError: none is, or this user may not bind it.
    """
    for port in ports:
        try:
            await sock.bind((host, port))
        except PermissionError as error:
            raise UnsupportedError("needs the right to bind a port below 1024") from error
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return
    raise UnsupportedError("no port below 1024 is free")
