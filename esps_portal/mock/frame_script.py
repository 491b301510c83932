"""What a peer answers: its stubs, conversations and handler. Also collects unexpected frames.

A frame is answered by the conversation of its connection if that expects it, else by the first stub
that matches, else by the handler. Any other frame is unexpected.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Hashable, Sequence
from itertools import islice
from typing import Any

import attrs

from esps_portal.given_numbers import shown_value
from esps_portal.journal.shown_bytes import EMPTY, shown_in_line
from esps_portal.mock.frame_stubs import FrameStub
from esps_portal.mock.peer_connection import PeerConnection
from esps_portal.mock.peer_steps import AnswerStep, SendFrames
from esps_portal.mock.scripted_conversation import ScriptedConversation

# The first problems of each kind are enough for a report.
_MAX_UNEXPECTED = 100
_MAX_FAILURES = 10
# Units of a recording that a frame is compared with, to find the nearest.
_MAX_COMPARED = 1000

#: What a handler may return: a frame, several, or ``None`` for nothing.
HandlerResult = str | bytes | Sequence[str | bytes] | None
#: Answers what no stub does: gets the frame and its connection; sync, or async with trio.
FrameHandler = Callable[[bytes, PeerConnection], HandlerResult | Awaitable[HandlerResult]]


@attrs.frozen
class UnexpectedFrame:
    """A frame that was not expected.

    Attributes:
        where: the connection it came on, as text.
        why: the nearest stub, and how the frame differs.
    """

    frame: bytes
    where: str
    why: str


@attrs.define(eq=False)
class FrameScript:
    """What a peer is to do, and what was not expected.

    Attributes:
        stubs: those of a test, in the order of placing.
        lasting: stubs that `clear` keeps, by transport and frame; they come after all others.
        greeting: what is sent first on each connection, kept likewise; ``None``: nothing.
        conversations: in the order of placing.
        handler: answers what no stub does; ``None``: there is none.
        unexpected: the first frames that nobody expected.
        on_unexpected: called with each frame that nobody expected, where, and why, as text.
        failures: what handlers, or replies that are not frames, have raised: the first ones.
    """

    stubs: list[FrameStub] = attrs.field(factory=list)
    lasting: dict[tuple[str, bytes], FrameStub] = attrs.field(factory=dict)
    greeting: FrameStub | None = None
    conversations: list[ScriptedConversation] = attrs.field(factory=list)
    handler: FrameHandler | None = None
    unexpected: list[UnexpectedFrame] = attrs.field(factory=list)
    on_unexpected: Callable[[str, str, str], None] | None = None
    failures: list[tuple[str, str]] = attrs.field(factory=list)
    _running: dict[Hashable, ScriptedConversation] = attrs.field(factory=dict)
    _placed: int = 0

    def place(self, stub: FrameStub) -> FrameStub:
        """Add a stub."""
        self._placed += 1
        stub.number = self._placed
        self.stubs.append(stub)
        return stub

    def clear(self) -> None:
        """Forget all of it but the lasting stubs, which start again with their first answer."""
        self.stubs.clear()
        self.conversations.clear()
        self.handler = None
        self.unexpected.clear()
        self.failures.clear()
        self._running.clear()
        for stub in self._lasting_stubs():
            stub.used = 0

    # -- what is to be done

    def opening(self, connection: PeerConnection) -> list[AnswerStep]:
        """Return what is done as a connection is accepted: a greeting, and a conversation."""
        greeting = [] if self.greeting is None else self.greeting.take().steps(b"")
        for conversation in self.conversations:
            if not conversation.has_begun and conversation.expected is None:
                return [*greeting, *self._begin(conversation, connection)]
        return greeting

    def answer(self, connection: PeerConnection, frame: bytes) -> list[AnswerStep] | None:
        """Return what to do about a frame; ``None``: no conversation and no stub answers it."""
        for conversation in self._asked(connection):
            expected = conversation.expected
            if expected is not None and not expected.matcher.difference(frame):
                conversation.done += 1
                return self._begin(conversation, connection, frame)
        for stub in self.stubs:
            if stub.can_answer and not stub.matcher.difference(frame):
                return stub.take().steps(frame)
        lasting = self.lasting.get((connection.transport, frame))
        return None if lasting is None else lasting.take().steps(frame)

    def _lasting_stubs(self) -> list[FrameStub]:
        return [*self.lasting.values(), *([] if self.greeting is None else [self.greeting])]

    def closed(self, connection: Hashable) -> None:
        """A connection has ended, and its conversation with it."""
        self._running.pop(connection, None)

    def is_in_conversation(self, connection: Hashable) -> bool:
        """Whether a conversation has begun on a connection, over or not."""
        return connection in self._running

    def _asked(self, connection: Hashable) -> list[ScriptedConversation]:
        """Return the conversations that may take a frame: the running one, or those not begun."""
        running = self._running.get(connection)
        if running is not None and not running.is_over:
            return [running]
        return [each for each in self.conversations if not each.has_begun]

    def _begin(
        self, conversation: ScriptedConversation, connection: Hashable, request: bytes = b""
    ) -> list[AnswerStep]:
        self._running[connection] = conversation
        return conversation.take_steps(request)

    # -- what was not expected

    def note_unexpected(self, connection: Hashable, frame: bytes, where: str) -> None:
        """Note an unexpected frame; only the first ones are kept."""
        is_kept = len(self.unexpected) < _MAX_UNEXPECTED
        if self.on_unexpected is None and not is_kept:
            return
        why = self._why_unexpected(connection, frame)
        if self.on_unexpected is not None:
            self.on_unexpected(shown_in_line(frame) if frame else EMPTY, where, why)
        if is_kept:
            self.unexpected.append(UnexpectedFrame(frame, where, why))

    def note_failure(self, what: str, error: BaseException) -> None:
        """Record the exception of a handler, or of a reply that is not a frame."""
        if len(self.failures) < _MAX_FAILURES:
            self.failures.append((what, "".join(traceback.format_exception(error))))

    def _why_unexpected(self, connection: Hashable, frame: bytes) -> str:
        """Return the nearest stub, or the step of the conversation, and how the frame differs."""
        running = self._running.get(connection)
        if running is not None and running.expected is not None:
            matcher = running.expected.matcher
            return f"the conversation expects {matcher}: {matcher.why_not(frame)}"
        stubs = [*self.stubs, *islice(self.lasting.values(), _MAX_COMPARED)]
        matching = [stub for stub in stubs if not stub.matcher.difference(frame)]
        if matching:
            return f"nearest stub: {matching[0]}: {matching[0].why_cannot_answer('frame')}"
        wanted = [(f"nearest stub: {stub}", stub.matcher) for stub in stubs]
        wanted += [
            (f"a conversation begins with {each.expected.matcher}", each.expected.matcher)
            for each in self.conversations
            if not each.has_begun and each.expected is not None
        ]
        if not wanted:
            return "there is no stub" if running is None else "the conversation is over"
        nearest, matcher = max(wanted, key=lambda each: each[1].nearness(frame))
        return f"{nearest}: {matcher.why_not(frame)}"

    def unused(self) -> list[FrameStub]:
        """Return the stubs that a strict test expects to be used, and that are not used up."""
        return [stub for stub in self.stubs if not (stub.is_broken or stub.is_satisfied)]

    def shadow_of(self, stub: FrameStub) -> FrameStub | None:
        """Return the earlier stub that answers the only frame of a stub with an exact one, if any.

        A stub that any of several frames matches may have had others.
        """
        frame = stub.matcher.exact
        if frame is None:
            return None
        earlier = self.stubs[: self.stubs.index(stub)]
        return next((e for e in earlier if e.can_answer and not e.matcher.difference(frame)), None)

    def unfinished(self) -> list[ScriptedConversation]:
        """Return the conversations that a strict test expects to end, and that have not."""
        return [each for each in self.conversations if not (each.is_over or each.is_optional)]


def frames_of(result: Any) -> list[AnswerStep]:  # noqa: ANN401 - whatever a handler returns
    """Return the step that sends what a handler has returned.

    Raises:
        TypeError: it is neither a frame, nor several, nor ``None``.
    """
    if result is None:
        return []
    frames = [result] if isinstance(result, str | bytes | bytearray | memoryview) else result
    if not isinstance(frames, list | tuple):
        raise TypeError(
            f"a handler returns bytes, text, a list of them or None, got {shown_value(result)}"
        )
    found = []
    for frame in frames:
        if not isinstance(frame, str | bytes | bytearray | memoryview):
            raise TypeError(
                f"a handler returns bytes or text, got {shown_value(frame)} among its frames"
            )
        found.append(frame.encode() if isinstance(frame, str) else bytes(frame))
    return [SendFrames(tuple(found))] if found else []
