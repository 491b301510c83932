"""A server without a transport: does what a `ServerConnection` says, and keeps what it would send.

Each call is a task that runs until the test ends it; all other requests are answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import OK, Notice, Reply, Request, error_reply
from esps_portal.protocol.received_lines import plain_to_request
from esps_portal.protocol.server_connection import Cancel, Quit, ServerConnection
from esps_portal.protocol.states import CallState, RunningCall, State

LIMITS = Limits(max_line=512, max_unterminated=1024, max_in_flight=3)


def without_text(answer: Reply | Notice) -> bytes:
    """Return the line; of an error only the code, and the tag of a tag-in-use."""
    tokens = answer.encode().split()
    if tokens[1] == b"ERR" and tokens[2] != b"tag-in-use":
        return b" ".join(tokens[:3])
    return b" ".join(tokens)


class MemoryServer:
    """See the module.

    Args:
        bulk: how many plain requests are taken at a time; 0: each line is read alone.
    """

    def __init__(
        self, limits: Limits = LIMITS, bulk: int = 0, *, requires_hello: bool = False
    ) -> None:
        self.bulk = bulk
        self.connection = ServerConnection(limits, requires_hello=requires_hello)
        #: All replies and notices, in order.
        self.sent: list[Reply | Notice] = []
        #: All requests that were executed, in order.
        self.executed: list[Request] = []
        self.calls: dict[bytes, RunningCall] = {}
        #: A CANCEL whose call has not ended: no line is read until it has.
        self.cancel: Cancel | None = None

    @property
    def state(self) -> State:
        return self.connection.state

    @property
    def lines(self) -> list[bytes]:
        """What was sent, as lines; errors are without their text for a person."""
        return [without_text(answer) for answer in self.sent]

    def feed(self, *chunks: bytes) -> MemoryServer:
        """Receive and answer; a cancelled call ends without delay."""
        for chunk in chunks:
            self.connection.receive(chunk)
            self.read_lines()
            self.end_cancelled()
        return self

    def read_lines(self) -> None:
        """Read the lines that were received, up to a CANCEL."""
        while True:
            self.execute_plain()
            line = next(self.connection.lines, None)
            if line is None:
                return
            outcome = self.connection.read(line)
            if isinstance(outcome, Request):
                self._execute(outcome)
            elif isinstance(outcome, Cancel):
                self.cancel = outcome
                self.send(outcome.final_reply)
                return
            elif not isinstance(outcome, Quit):
                self.send(outcome)

    def execute_plain(self) -> None:
        """Execute what needs no `read`, up to a call: that changes what may follow."""
        while plain := self.connection.peek_plain(self.bulk):
            for request in map(plain_to_request, plain):
                self._execute(request)
                self.connection.lines.skip(1)
                if request.verb == b"CALL":
                    break

    def send(self, *answers: Reply | Notice | None) -> None:
        self.sent += [answer for answer in answers if answer is not None]

    def finish(self, call: RunningCall) -> None:
        """End a call with OK."""
        if self.connection.finish(call):
            self.send(Reply(call.tag, OK))

    def finish_all(self) -> None:
        """End all running calls with OK."""
        for call in self.calls.values():
            if call.state is not CallState.ENDED:
                self.finish(call)

    def end_cancelled(self) -> None:
        """Let cancelled calls end, and read on, until no CANCEL waits."""
        while self.cancel is not None:
            cancel, self.cancel = self.cancel, None
            self.finish(cancel.call)
            self.send(self.connection.cancelled(cancel))
            self.read_lines()

    def end_drain(self) -> None:
        """Let the drain time out."""
        self.send(*self.connection.end_drain())

    def _execute(self, request: Request) -> None:
        if request.verb == b"CALL" and self.connection.is_full:
            self.send(error_reply(request.tag, "busy"))
            return
        self.executed.append(request)
        if request.verb == b"CALL":
            self.calls[request.tag] = self.connection.begin(request.tag)
        else:
            self.send(Reply(request.tag, OK, request.args))


def server_after(chunks: Iterable[bytes], limits: Limits = LIMITS, bulk: int = 0) -> MemoryServer:
    """Return a server that has received ``chunks``."""
    return MemoryServer(limits, bulk).feed(*chunks)
