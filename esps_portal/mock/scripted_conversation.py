"""A scripted conversation: steps on one connection, whose order matters."""

from __future__ import annotations

from collections.abc import Sequence

from esps_portal.framings.framing import Framing
from esps_portal.framings.transport_ends import Datagrams
from esps_portal.given_numbers import shown_value
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.frame_matching import check_can_be_sent, check_can_match
from esps_portal.mock.peer_steps import AnswerStep, End, Expect, SendFrames, Step, Wait
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


# The steps that a peer performs by itself.
_OWN = (SendFrames, Wait, End)


class ScriptedConversation:
    """Steps, and how far they have come.

    It begins on the first connection on which its first step can be done: with the first frame that
    matches, if the step is `Expect`; otherwise when a connection is accepted, which never happens
    over UDP.

    Args:
        steps: in order.
        framings: one for each transport; what is sent must be frames of each of these.

    Attributes:
        has_begun: it runs on a connection, or has run; no other one runs there at the same time.
        done: how many steps have been done, or have begun.
        is_optional: a strict test does not fail if it is not done to its end.

    Raises:
        FramingError: what is expected or to be sent cannot be a frame.
        StubError: there are no steps, or some can never be done.
        TypeError: something is not a step.
    """

    def __init__(self, steps: Sequence[Step], framings: Sequence[Framing]) -> None:
        if not steps:
            raise StubError("a conversation needs steps: expect(...), send(...), close()")
        if all(isinstance(each, Datagrams) for each in framings) and isinstance(steps[0], _OWN):
            raise StubError(
                f"over UDP the client sends first: begin with expect(...), not {steps[0]}"
            )
        has_request = False
        for number, step in enumerate(steps, 1):
            has_request = has_request or isinstance(step, Expect)
            if isinstance(step, SendFrames) and step.echoes and not has_request:
                raise StubError(f"step {number} echoes a request, and none is expected before it")
            if not isinstance(step, Expect | SendFrames | Wait | End):
                raise TypeError(
                    f"step {number} of a conversation must be expect(...), send(...), raw(...),"
                    f" wait(...), close() or reset(), got {shown_value(step)}"
                )
            if isinstance(step, End) and number < len(steps):
                raise StubError(f"no step can follow {step}(), which ends the connection")
            _check_frames(step, framings)
        self.steps: tuple[Step, ...] = tuple(steps)
        self.done: int = 0
        self.has_begun: bool = False
        self.is_optional: bool = False

    @property
    def is_over(self) -> bool:
        """Whether every step has been done."""
        return self.done == len(self.steps)

    @property
    def expected(self) -> Expect | None:
        """The frame that comes next; ``None``: none is expected now."""
        step = None if self.is_over else self.steps[self.done]
        return step if isinstance(step, Expect) else None

    def take_steps(self, request: bytes = b"") -> list[AnswerStep]:
        """Return the steps up to the next expected frame, and count them as done.

        Args:
            request: the frame that was expected last, for what is echoed.
        """
        self.has_begun = True
        found: list[AnswerStep] = []
        while not self.is_over and not isinstance(step := self.steps[self.done], Expect):
            found.append(step.echoed(request) if isinstance(step, SendFrames) else step)
            self.done += 1
        return found

    def optional(self) -> ScriptedConversation:
        """Do not fail a strict test if it is not done to its end."""
        self.is_optional = True
        return self

    def __str__(self) -> str:
        return f"conversation ({'; '.join(map(str, self.steps))})"

    def __repr__(self) -> str:
        return f"<{self}, {self.done} of {len(self.steps)} steps done>"


def _check_frames(step: Step, framings: Sequence[Framing]) -> None:
    """Check that frames which a step expects or sends are possible.

    Raises:
        FramingError: one is not.
    """
    if isinstance(step, Expect):
        check_can_match(step.matcher, framings)
    if isinstance(step, SendFrames) and not step.is_raw:
        check_can_be_sent(step.frames, framings)
