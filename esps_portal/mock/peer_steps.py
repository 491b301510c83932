"""What a peer does on a connection, step by step: expect, send, raw, wait, close, reset.

Stubs, handlers and conversations are all turned into these steps, which the connection performs.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from esps_portal.faults.matching import Matchable
from esps_portal.given_numbers import is_seconds, shown_value
from esps_portal.journal.shown_bytes import shown_in_line
from esps_portal.mock.answer_chain import StubError
from esps_portal.mock.echo import Echo, checked_echoes, echoed
from esps_portal.mock.frame_matching import FrameMatcher
from esps_portal.services.service import as_bytes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen
class Expect:
    """Wait for a frame that matches."""

    matcher: FrameMatcher

    def __str__(self) -> str:
        return f"expect {self.matcher}"


@attrs.frozen
class SendFrames:
    """Send frames.

    Attributes:
        frames: as the framing's ``join`` takes them.
        is_raw: they are sent as they are, whole frames or not.
        echoes: the bytes of the request that are copied into each of them.
    """

    frames: tuple[bytes, ...]
    is_raw: bool = False
    echoes: tuple[Echo, ...] = ()

    def echoed(self, request: bytes) -> SendFrames:
        """Return the step that answers a request."""
        if not self.echoes:
            return self
        return SendFrames(
            tuple(echoed(frame, self.echoes, request) for frame in self.frames), self.is_raw
        )

    def __str__(self) -> str:
        verb = "raw" if self.is_raw else "send"
        return " ".join([verb, *(f"'{shown_in_line(frame)}'" for frame in self.frames)])


@attrs.frozen
class Wait:
    """Wait for this many seconds."""

    seconds: float

    def __str__(self) -> str:
        return f"wait {self.seconds:g} s"


@attrs.frozen
class End:
    """End the connection: ``close`` (FIN) or ``reset`` (RST), once what was sent has left."""

    how: str

    def __str__(self) -> str:
        return self.how


#: A step that needs no frame of the client's.
AnswerStep = SendFrames | Wait | End
Step = Expect | AnswerStep


def expect(match: Matchable) -> Expect:
    """Wait for the next frame, which must match: a step of `PeerController.conversation`.

    Args:
        match: text (as UTF-8) or bytes that the frame must equal, a compiled regular expression
            that is searched in it, or a function of bytes that decides.

    Raises:
        TypeError: it is none of these.
    """
    return Expect(FrameMatcher.of(match))


def send(*frames: str | bytes, echo: Echo | Sequence[Echo] | None = None) -> SendFrames:
    """Send frames, text as UTF-8: a step of `PeerController.conversation`.

    The framing adds what ends a line, or the length before a payload; `raw` does without.

    Args:
        echo: as that of `FrameStub.reply`; the request is the frame that was expected last.

    Raises:
        StubError: an echo is not a pair of places, or ends after the end of a frame.
        TypeError: a frame is neither text nor bytes.
    """
    sent = tuple(map(as_bytes, frames))
    return SendFrames(sent, echoes=checked_echoes(echo, sent))


def raw(data: str | bytes, *, echo: Echo | Sequence[Echo] | None = None) -> SendFrames:
    r"""Send bytes as they are, whole frames or not: a step of `PeerController.conversation`.

    ``conversation(expect("DATA"), raw("35"), wait(0.1), raw("4 go on\r\n"))`` sends a line in two
    pieces.

    Args:
        echo: as that of `send`.

    Raises:
        StubError: an echo is not a pair of places, or ends after the end of the bytes.
        TypeError: it is neither text nor bytes.
    """
    sent = (as_bytes(data),)
    return SendFrames(sent, is_raw=True, echoes=checked_echoes(echo, sent))


def close() -> End:
    """Close the connection with FIN: a step of `PeerController.conversation`."""
    return End("close")


def reset() -> End:
    """Close the connection with RST: a step of `PeerController.conversation`."""
    return End("reset")


def wait(seconds: float) -> Wait:
    """Wait: a step of `PeerController.conversation`.

    Raises:
        StubError: it is not a number of seconds of at least 0.
    """
    if not is_seconds(seconds):
        raise StubError(f"wait must be seconds, 0 or more, got {shown_value(seconds)}")
    return Wait(float(seconds))
