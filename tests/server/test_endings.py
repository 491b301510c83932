"""Which reason for an end replaces which, and what the table says about each."""

from __future__ import annotations

import pytest

from esps_portal.server.endings import ENDINGS, FAULT_ENDS, EndReason, How
from esps_portal.server.reply_writer import ReplyWriter
from esps_portal.testing.pipes import memory_pair

# From the weakest to the strongest; of the same rank the first one stays.
RANKS = (
    {EndReason.IDLE},
    {EndReason.FINISHED, EndReason.FATAL, EndReason.SHUTDOWN, EndReason.DEAF},
    {EndReason.STALL},
    {
        EndReason.HANGUP,
        EndReason.BROKEN,
        EndReason.CLOSE,
        EndReason.RESET,
        EndReason.HALF_CLOSE,
    },
    {EndReason.UNREAD, EndReason.EVICTED, EndReason.ABORTED},
)


def rank(reason: EndReason) -> int:
    return next(number for number, reasons in enumerate(RANKS) if reason in reasons)


@pytest.mark.parametrize("first", EndReason)
async def test_a_higher_rank_replaces_a_lower_one(first: EndReason) -> None:
    for second in EndReason:
        notified: list[EndReason] = []
        replies = ReplyWriter(memory_pair()[1], notified.append)
        replies.end_for(first)
        replies.end_for(second)
        expected = second if rank(second) > rank(first) else first
        assert replies.end is expected
        assert notified == ([first] if expected is first else [first, second])


@pytest.mark.parametrize("reason", EndReason)
def test_every_reason_has_its_ending(reason: EndReason) -> None:
    ending = ENDINGS[reason]
    assert ending.is_final == (rank(reason) > 1)
    assert not (ending.is_final and ending.drains)
    # What a journal has without asking the client is what the portal does.
    if ending.how in (How.RST, How.RST_AT_ONCE, How.DEAF):
        assert ending.first == ("portal", "rst")
    elif reason is EndReason.HANGUP:
        assert ending.first == ("client", "fin")
    else:
        assert ending.first in (None, ("portal", "fin"))


def test_the_end_of_each_fault() -> None:
    assert {kind: ENDINGS[reason].how for kind, reason in FAULT_ENDS.items()} == {
        "close": How.FIN,
        "reset": How.RST,
        "half-close": How.MUTE_AFTER_FIN,
        "stall": How.MUTE,
        "deaf": How.DEAF,
    }


async def test_a_client_that_has_finished_needs_no_reason() -> None:
    replies = ReplyWriter(memory_pair()[1], lambda _: None)
    assert replies.ending is ENDINGS[EndReason.FINISHED]
    assert not replies.is_final
