"""Stubs of a peer: answers to frames of any protocol, in the chain of the portal's stubs.

::

    stub("PING").reply("+PONG")
    stub(re.compile(b"^rcpt")).reply("450 later").times(2).reply("250 ok")
    stub(b"...").raw(b"half a fra").delay(0.2).then_reset()

``reply`` and ``raw`` end one answer; what follows them belongs to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import attrs

from esps_portal.faults.matching import Matchable
from esps_portal.framings.framing import Framing
from esps_portal.mock.answer_chain import AnswerChain, chain_method
from esps_portal.mock.echo import Echo, checked_echoes
from esps_portal.mock.frame_matching import FrameMatcher, check_can_be_sent, check_can_match
from esps_portal.mock.peer_steps import AnswerStep, End, SendFrames, Wait
from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.define
class FrameAnswer:
    """The answer to one frame.

    Attributes:
        frames: what is sent; empty: nothing.
        is_raw: they are sent as they are, whole frames or not.
        echoes: the bytes of the request that are copied into each of them.
        delay: seconds before that.
        end: ``close`` or ``reset`` after it; empty: the connection goes on.
        times: how often it is given; ``None``: once, or indefinitely if it is the last.
        done: it has its frames, or ends the connection; the next ``reply`` or ``raw`` begins
            another.
    """

    frames: tuple[bytes, ...] = ()
    is_raw: bool = False
    echoes: tuple[Echo, ...] = ()
    delay: float = 0.0
    end: str = ""
    times: int | None = None
    done: bool = False

    def add_delay(self, seconds: float) -> None:
        """Wait for this many more seconds before the frames."""
        self.delay += seconds

    def steps(self, request: bytes) -> list[AnswerStep]:
        """Return what to do about a request."""
        steps: list[AnswerStep] = [Wait(self.delay)] if self.delay else []
        if self.frames:
            steps.append(SendFrames(self.frames, self.is_raw, self.echoes).echoed(request))
        return [*steps, End(self.end)] if self.end else steps


class FrameStub(AnswerChain[FrameAnswer]):
    """The answers to the frames that match. Each method of the chain returns the stub.

    Args:
        match: text or bytes that the frame must equal, a compiled regular expression that is
            searched in it, or a function of bytes that decides.
        framings: one for each transport; replies must be frames of each of these.

    Attributes:
        used: how many frames it has answered.
        is_optional: a strict test does not fail if it is unused.
        is_broken: a method of the chain raised: it answers nothing.

    Raises:
        FramingError: no frame can equal the text or bytes.
        TypeError: a frame cannot be matched by that.
    """

    def __init__(self, match: Matchable, framings: Sequence[Framing]) -> None:
        super().__init__(FrameAnswer)
        self.matcher: FrameMatcher = FrameMatcher.of(match)
        check_can_match(self.matcher, framings)
        self._framings = framings

    # -- the chain

    @chain_method
    def reply(self, *frames: str | bytes, echo: Echo | Sequence[Echo] | None = None) -> Self:
        """Reply with frames, text as UTF-8; with none, send nothing.

        ``.reply(answer, echo=(0, 2))`` copies the id of a DNS query.

        Args:
            frames: without what ends a line, or the length before a payload: the framing adds it.
            echo: ``(from, to)``, or several: these bytes of the request, counted from 0 and without
                that at ``to``, are copied into each frame at the same place. (For another place,
                write a `PeerController.handler`.)

        Raises:
            FramingError: a frame cannot be sent with this framing.
            StubError: an echo is not such a pair, or ends after the end of a frame.
        """
        payloads = tuple(map(as_bytes, frames))
        check_can_be_sent(payloads, self._framings)
        return self._finish(payloads, echo, is_raw=False)

    @chain_method
    def raw(self, data: str | bytes, *, echo: Echo | Sequence[Echo] | None = None) -> Self:
        """Send bytes as they are, whole frames or not: half a frame, two in one segment, garbage.

        Args:
            data: text is sent as UTF-8.
            echo: as that of `reply`.

        Raises:
            StubError: an echo is not such a pair, or ends after the end of the bytes.
            TypeError: it is neither text nor bytes.
        """
        return self._finish((as_bytes(data),), echo, is_raw=True)

    def then_close(self) -> Self:
        """End the connection (FIN) after this answer, which it completes; alone it sends nothing.

        ``.then_close().reply("x")`` closes at the first frame and replies to the second. It has no
        effect over UDP.
        """
        return self._end("close")

    def then_reset(self) -> Self:
        """End the connection with RST after this answer; otherwise as `then_close`."""
        return self._end("reset")

    def add(self, answer: FrameAnswer) -> Self:
        """Add a complete answer.

        Raises:
            FramingError, StubError: as `reply` does.
        """
        if answer.is_raw:
            self._finish(answer.frames, answer.echoes, is_raw=True)
        else:
            self.reply(*answer.frames, echo=answer.echoes)
        self.answers[-1] = attrs.evolve(answer, done=True)
        return self

    # -- its use

    def __str__(self) -> str:
        return str(self.matcher)

    def __repr__(self) -> str:
        return f"<stub {self}, used {self.uses}>"

    # -- inside

    def _end(self, how: str) -> Self:
        answer = self._last_answer()
        answer.end, answer.done = how, True
        return self

    def _finish(
        self, frames: tuple[bytes, ...], echo: Echo | Sequence[Echo] | None, *, is_raw: bool
    ) -> Self:
        echoes = checked_echoes(echo, frames)
        answer = self._open_answer()
        answer.frames, answer.echoes, answer.is_raw, answer.done = frames, echoes, is_raw, True
        return self
