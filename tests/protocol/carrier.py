"""A carrier without a transport: performs what a conversation says, and keeps what it would send.

Every call is a task that runs until the test ends it; every other request is answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from esps_portal.protocol.limits import Limits
from esps_portal.protocol.messages import OK, Notice, Reply, Request, error_reply
from esps_portal.protocol.server_connection import (
    CallState,
    Cancel,
    Quit,
    RunningCall,
    ServerConnection,
    State,
)

LIMITS = Limits(max_line=512, max_unterminated=1024, max_in_flight=3)


def without_text(answer: Reply | Notice) -> bytes:
    """Return the line, an error's without its words: the code, and the tag of a tag-in-use."""
    tokens = answer.encode().split()
    if tokens[1] == b"ERR" and tokens[2] != b"tag-in-use":
        return b" ".join(tokens[:3])
    return b" ".join(tokens)


class Carrier:
    def __init__(self, limits: Limits = LIMITS) -> None:
        self.conversation = ServerConnection(limits)
        #: What was sent, in order, with what was done in between.
        self.sent: list[Reply | Notice] = []
        self.read: list[Request] = []
        self.calls: dict[bytes, RunningCall] = {}
        #: A CANCEL whose call has not ended: nothing more is read until it has.
        self.waiting: Cancel | None = None

    @property
    def state(self) -> State:
        return self.conversation.state

    @property
    def lines(self) -> list[bytes]:
        """What was sent, line by line; errors are without their words for a person."""
        return [without_text(answer) for answer in self.sent]

    def feed(self, *chunks: bytes) -> Carrier:
        """Receive; a CANCEL ends its call without delay."""
        for chunk in chunks:
            self.conversation.receive(chunk)
            self.go_on()
            self.end_cancelled()
        return self

    def go_on(self) -> None:
        """Read the pieces that wait."""
        for piece in self.conversation.lines:
            todo = self.conversation.read(piece)
            if isinstance(todo, Request):
                self._answer(todo)
            elif isinstance(todo, Cancel):
                self.waiting = todo
                self.say(todo.final_reply)
                return
            elif not isinstance(todo, Quit):
                self.say(todo)

    def say(self, *answers: Reply | Notice | None) -> None:
        self.sent += [answer for answer in answers if answer is not None]

    def finish(self, call: RunningCall) -> None:
        """The task of a call ends with OK."""
        if self.conversation.finish(call):
            self.say(Reply(call.tag, OK))

    def finish_all(self) -> None:
        """Every call that runs ends with OK."""
        for call in self.calls.values():
            if call.state is not CallState.ENDED:
                self.finish(call)

    def end_cancelled(self) -> None:
        """Let cancelled calls end, and read on, until nothing waits."""
        while self.waiting is not None:
            cancel, self.waiting = self.waiting, None
            self.finish(cancel.call)
            self.say(self.conversation.cancelled(cancel))
            self.go_on()

    def expire(self) -> None:
        self.say(*self.conversation.expire())

    def _answer(self, request: Request) -> None:
        if request.verb == b"CALL" and self.conversation.is_full:
            self.say(error_reply(request.tag, "busy"))
            return
        self.read.append(request)
        if request.verb == b"CALL":
            self.calls[request.tag] = self.conversation.begin(request.tag)
        else:
            self.say(Reply(request.tag, OK, request.args))


def converse(chunks: Iterable[bytes], limits: Limits = LIMITS) -> Carrier:
    """Return a carrier that has received ``chunks``."""
    return Carrier(limits).feed(*chunks)
