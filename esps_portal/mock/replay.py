"""A recording as stubs: each call is answered as recorded, in order; the last answer is repeated.

A stub answers over TCP and UDP, and ignores padding. An answer about the transport (``too-large``,
``use-tcp``) is replayed only if the call has no other: where it applies, the portal gives it
anyway.
"""

from __future__ import annotations

from collections.abc import Iterable

from esps_portal.journal.recording import RecordedAnswer, RecordingError
from esps_portal.mock.answer_chain import merge_repeats
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import LONGEST_TAG, Stub, StubAnswer
from esps_portal.protocol import grammar
from esps_portal.protocol.messages import DATA, Reply
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Errors of a call that ended early: they are not answers of the service.
_ENDED_EARLY = frozenset({"cancelled", "closing"})
# Errors about the transport, not about the call.
_ABOUT_TRANSPORT = frozenset({"too-large", "use-tcp"})


def replay(recording: Iterable[RecordedAnswer], portal: ScriptedPortal) -> int:
    """Place stubs that answer as recorded: all of them, or none.

    Returns:
        How many different calls are answered: their services or arguments differ.

    Raises:
        RecordingError: there is no call to replay, or a recorded line is longer than this portal's
            ``max_line``.
    """
    max_line = portal.limits.longest_reply
    stubs = [_stub(answers, max_line) for answers in _by_call(_answers_to_replay(recording))]
    if not stubs:
        raise RecordingError(
            0,
            "holds no call of ESPS/1 that was answered; a portal cannot replay another protocol",
        )
    for stub in stubs:
        portal.script.stubs.place(stub)
    return len(stubs)


def _answers_to_replay(recording: Iterable[RecordedAnswer]) -> Iterable[RecordedAnswer]:
    """Yield the answers to replay, each once."""
    # Clients that got too-large: their repeat, with more padding, has the answer.
    awaiting_repeat: set[tuple[str, str, str]] = set()
    for answer in recording:
        if answer.code in _ENDED_EARLY or not grammar.NAME.fullmatch(answer.service):
            continue
        if answer.replayed and answer.client not in awaiting_repeat:
            continue
        awaiting_repeat.discard(answer.client)
        if answer.code == "too-large":
            awaiting_repeat.add(answer.client)
        yield answer


def _by_call(answers: Iterable[RecordedAnswer]) -> list[list[RecordedAnswer]]:
    found: dict[tuple[bytes, tuple[bytes, ...]], list[RecordedAnswer]] = {}
    for answer in answers:
        found.setdefault((answer.service, answer.args), []).append(answer)
    return [
        [answer for answer in group if answer.code not in _ABOUT_TRANSPORT] or group
        for group in found.values()
    ]


def _stub(recorded: list[RecordedAnswer], max_line: int) -> Stub:
    matchers: tuple[Matcher, ...] = recorded[0].args
    # A stub checks its lines with the longest tag; a recorded line may fit only with its own.
    stub = Stub(recorded[0].service.decode(), matchers, max_line=max_line + len(LONGEST_TAG))
    stub.optional()
    for answer in merge_repeats(_stub_answer(one, max_line) for one in recorded):
        stub.add(answer)
    return stub


def _stub_answer(one: RecordedAnswer, max_line: int) -> StubAnswer:
    lines = [Reply(one.final.tag, DATA, row) for row in one.rows]
    longest = max(len(line.encode()) for line in (*lines, one.final))
    if longest > max_line:
        raise RecordingError(
            one.line,
            f"an answer has a line of {longest} bytes, and this portal's max_line is {max_line}:"
            " raise it in a scenario",
        )
    answer = StubAnswer([*one.rows], one.final.kind, one.final.args, done=True)
    longer_tag = len(LONGEST_TAG) - len(one.final.tag)
    if answer.is_immediate and longest + longer_tag > max_line:
        # A step makes it a call, which checks the line with the tag of the actual request.
        answer.steps.append(0.0)
    return answer
