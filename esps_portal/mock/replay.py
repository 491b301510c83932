"""A recording as stubs: each call is answered as recorded, in order, the last answer for ever.

A stub answers over either transport and knows nothing of padding. So an answer that was the
carrier's, not the service's (``too-large``, ``use-tcp``), is replayed only where nothing else is
known of that call: where it applies, the replaying portal gives it by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from esps_portal.journal.recording import RecordedAnswer, RecordingError
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Answer, Stub
from esps_portal.protocol import grammar
from esps_portal.protocol.messages import DATA, Reply
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

# Sent because a call or its portal ended before the answer: not the service's answer.
_CUT_SHORT = frozenset({"cancelled", "closing"})
# About the transport, not about the call.
_OF_THE_CARRIER = frozenset({"too-large", "use-tcp"})
# The longest tag there is (spec, Grammar).
_LONGEST_TAG = b"t" * 32


def replay(recording: Iterable[RecordedAnswer], portal: ScriptedPortal) -> int:
    """Place stubs that answer as recorded: all of them, or none.

    Returns:
        How many calls, told apart by service and arguments, are answered.

    Raises:
        RecordingError: a line is longer than this portal's may be.
    """
    max_line = portal.limits.max_line
    stubs = [_stub(answers, max_line) for answers in _by_call(_given(recording))]
    for stub in stubs:
        portal.script.stubs.place(stub)
    return len(stubs)


def _given(recording: Iterable[RecordedAnswer]) -> Iterable[RecordedAnswer]:
    """Yield the answers that count, each once."""
    # Clients that were told to ask again with more room, and got the answer from memory.
    owed: set[tuple[str, str, str]] = set()
    for answer in recording:
        if answer.code in _CUT_SHORT or not grammar.NAME.fullmatch(answer.service):
            continue
        if answer.replayed and answer.client not in owed:
            continue
        owed.discard(answer.client)
        if answer.code == "too-large":
            owed.add(answer.client)
        yield answer


def _by_call(answers: Iterable[RecordedAnswer]) -> list[list[RecordedAnswer]]:
    found: dict[tuple[bytes, tuple[bytes, ...]], list[RecordedAnswer]] = {}
    for answer in answers:
        found.setdefault((answer.service, answer.args), []).append(answer)
    rows = []
    for row in found.values():
        said = [answer for answer in row if answer.code not in _OF_THE_CARRIER]
        rows.append(said or row)
    return rows


def _stub(recorded: list[RecordedAnswer], max_line: int) -> Stub:
    wanted: tuple[Matcher, ...] = recorded[0].args
    # With its own, shorter tag an answer may fit that is too long for a stub's check.
    stub = Stub(recorded[0].service.decode(), wanted, max_line=max_line + len(_LONGEST_TAG))
    stub.optional()
    for answer in _in_turn(recorded, max_line):
        stub.add(answer)
    return stub


def _in_turn(recorded: list[RecordedAnswer], max_line: int) -> list[Answer]:
    """Return the answers in order; equal ones in a row are one answer and its count."""
    turns: list[Answer] = []
    for one in recorded:
        answer = _answer(one, max_line)
        if turns and attrs.evolve(turns[-1], times=None) == answer:
            turns[-1].times = (turns[-1].times or 1) + 1
        else:
            turns.append(answer)
    turns[-1].times = None  # for ever
    return turns


def _answer(one: RecordedAnswer, max_line: int) -> Answer:
    lines = [Reply(one.final.tag, DATA, row) for row in one.rows]
    longest = max(len(line.encode()) for line in (*lines, one.final))
    if longest > max_line:
        raise RecordingError(
            one.line,
            f"an answer has a line of {longest} bytes, and this portal's max-line is {max_line}:"
            " a scenario can raise it",
        )
    answer = Answer([*one.rows], one.final.kind, one.final.args, done=True)
    longest_tag = len(_LONGEST_TAG) - len(one.final.tag)
    if answer.instant and longest + longest_tag > max_line:
        # An answer with a step is measured when it is given, with the tag that it then has.
        answer.steps.append(0.0)
    return answer
