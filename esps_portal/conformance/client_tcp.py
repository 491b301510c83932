"""The server of a case over TCP."""

from __future__ import annotations

import contextlib
import socket
import struct

import attrs
import trio

from esps_portal.conformance.case_values import CaseValues
from esps_portal.conformance.client_cases import ClientCase, Close, Say, Wait
from esps_portal.conformance.client_request import Request, parse_request
from esps_portal.conformance.outcome import MismatchError

_MAX_UNREAD = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds; then close() sends RST


@attrs.define(eq=False)
class TcpServer:
    """Serves one case to the client that connects.

    Attributes:
        reached: the client has connected.
        asked: the call has come.
        fault: what was wrong with what the client has sent.
    """

    case: ClientCase
    values: CaseValues
    listener: trio.SocketListener
    reached: bool = False
    asked: bool = False
    fault: MismatchError | None = None
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @classmethod
    async def open(cls, case: ClientCase, values: CaseValues) -> TcpServer:
        """Listen on a free port of the loopback address."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        return cls(case, values, listeners[0])

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"esps://127.0.0.1:{self.listener.socket.getsockname()[1]}"

    async def run(self) -> None:
        """Serve until cancelled, or until the client has sent something wrong."""
        with self._scope:
            await trio.serve_listeners(self._serve, [self.listener])

    def close(self) -> None:
        """Listen no more."""
        self.listener.socket.close()

    def finish(self) -> None:
        """Judge what is known only at the end: nothing, over TCP."""

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.reached = True
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await stream.send_all(self.values.fill(self.case.greeting, "x"))
            unread = b""
            async for data in stream:
                *lines, unread = (unread + data).split(b"\n")
                for line in lines:
                    await self._take(line + b"\n", stream)
                if len(unread) > _MAX_UNREAD:
                    return

    async def _take(self, line: bytes, stream: trio.SocketStream) -> None:
        try:
            request = parse_request(line)
        except MismatchError as error:
            self.fault = error
            self._scope.cancel()
            return
        if request.is_call:
            self.asked = True
            await self._reply(request, stream)
            return
        await stream.send_all(f"{request.tag} {_answer(request)}\n".encode())
        if request.verb == "QUIT":
            await stream.send_eof()

    async def _reply(self, request: Request, stream: trio.SocketStream) -> None:
        for action in self.case.replies[0] if self.case.replies else ():
            match action:
                case Say():
                    data = self.values.fill(action.text, request.tag)
                    for piece in [bytes([o]) for o in data] if action.bytewise else [data]:
                        await stream.send_all(piece)
                case Wait():
                    await trio.sleep(action.seconds)
                case Close(how="fin"):
                    await stream.send_eof()
                case Close():
                    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    await stream.aclose()


def _answer(request: Request) -> str:
    """Return what any server answers to what a client may ask beside its call."""
    match request.verb:
        case "HELLO":
            return "OK ESPS/1 check/1 max-line=8192 novel=7 x-mine=y alone"
        case "PING":
            return f"OK{request.arguments}"
        case "LIST":
            return "OK echo"
        case "QUIT":
            return "OK"
    return "ERR unknown-verb"
