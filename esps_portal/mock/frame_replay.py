"""A recording as stubs of a peer: units are answered in order, and the last answer is repeated."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from esps_portal.framings.framing import Framing
from esps_portal.framings.recorded_units import RecordedUnits
from esps_portal.framings.transport_ends import datagrams
from esps_portal.journal.recorded_dialogues import RecordedDialogue
from esps_portal.journal.recording import RecordingError
from esps_portal.mock.answer_chain import merge_repeats
from esps_portal.mock.frame_stubs import FrameAnswer, FrameStub
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


@attrs.frozen
class FrameReplay:
    """What a peer replays.

    Attributes:
        framing: where what clients send ends: over TCP where it equals a recorded unit.
        udp: it is served over UDP as well.
        stubs: by transport and request.
        greeting: what it sends first on each connection; ``None``: nothing.
    """

    framing: Framing
    udp: bool
    stubs: dict[tuple[str, bytes], FrameStub]
    greeting: FrameStub | None

    @classmethod
    def of(cls, dialogues: Iterable[RecordedDialogue]) -> FrameReplay:
        """Return what a peer is to replay.

        Raises:
            RecordingError: there is nothing that a server has sent.
        """
        dialogues = list(dialogues)
        if not any(dialogue.replies for dialogue in dialogues):
            raise RecordingError(
                0,
                "holds no reply to replay; a recording of calls of ESPS/1 is for 'serve --replay'",
            )
        grouped: dict[tuple[str, bytes], list[RecordedDialogue]] = {}
        for dialogue in dialogues:
            grouped.setdefault((dialogue.transport, dialogue.request), []).append(dialogue)
        greetings = grouped.pop(("tcp", b""), [])
        stubs = {key: _stub(key[1], _answered(group)) for key, group in grouped.items()}
        transports = {dialogue.transport for dialogue in dialogues}
        units = RecordedUnits(request for transport, request in stubs if transport == "tcp")
        return cls(
            framing=units if "tcp" in transports else datagrams(),
            udp="udp" in transports,
            stubs=stubs,
            greeting=_stub(b"", greetings) if greetings else None,
        )


def _answered(group: list[RecordedDialogue]) -> list[RecordedDialogue]:
    """Return those with an answer; a request that never had one is expected, and gets none."""
    return [each for each in group if each.replies or each.end] or group[:1]


def _stub(request: bytes, recorded: list[RecordedDialogue]) -> FrameStub:
    stub = FrameStub(request, ())
    stub.optional()
    for answer in merge_repeats(map(_stub_answer, recorded)):
        stub.add(answer)
    return stub


def _stub_answer(one: RecordedDialogue) -> FrameAnswer:
    return FrameAnswer(tuple(one.replies), is_raw=True, end=one.end, done=True)
