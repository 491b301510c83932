"""A recording as stubs: which answers are replayed, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from esps_portal.journal.recording import RecordingError
from esps_portal.journal.records import FAULTED, REPLAYED, REPLIED
from esps_portal.mock.replay import replay
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.protocol.limits import Limits
from esps_portal.services.builtin_portal import builtin_portal
from tests.journal.recorded import Recorded


def replayed(recorded: Recorded, **limits: int) -> ScriptedPortal:
    portal = ScriptedPortal(builtin_portal("test/1", Limits(**limits)))
    replay(recorded.answers(), portal)
    return portal


def chain(portal: ScriptedPortal, service: str = "price") -> list[tuple[Any, ...]]:
    """Return the answers of a service's only stub: steps, final line, times."""
    (stub,) = portal.script.stubs.by_name[service.encode()]
    assert stub.is_optional
    return [(answer.steps, answer.args, answer.times) for answer in stub.answers]


def test_answers_come_in_order_and_the_last_is_repeated() -> None:
    recorded = Recorded()
    for number, sent in enumerate([b"OK 1", b"OK 1", b"ERR busy soon", b"OK 2", b"OK 2"]):
        recorded.call(b"t%d CALL price x" % number, b"t%d %b\n" % (number, sent))
    assert chain(replayed(recorded)) == [
        ([], (b"1",), 2),
        ([], (b"busy", b"soon"), None),
        ([], (b"2",), None),
    ]


def test_a_call_that_ended_early_is_left_out() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK 1\n")
    recorded.call(b"b CALL price", b"b ERR closing\n")
    recorded.call(b"c CALL price", b"c ERR cancelled\n")
    recorded.call(b"d CALL %FF", b"d ERR unknown-service\n")
    portal = replayed(recorded)
    assert chain(portal) == [([], (b"1",), None)]
    assert portal.script.stubs.names == [b"price"]


def test_a_recording_without_a_call_is_an_error() -> None:
    recorded = Recorded()
    recorded.call(b"a PING", b"a OK\n")
    recorded.call(b"b CALL price", b"b ERR cancelled\n")
    with pytest.raises(RecordingError, match="holds no call of ESPS/1 that was answered; "):
        replayed(recorded)


def test_a_reply_under_a_fault_is_replayed() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a DATA x\na OK 1\n", FAULTED)
    assert chain(replayed(recorded)) == [([(b"x",)], (b"1",), None)]


def test_a_udp_repeat_counts_once() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK 1\n", transport="udp")
    recorded.call(b"a CALL price", b"a OK 1\n", REPLAYED, transport="udp")
    recorded.call(b"b CALL price", b"b OK 2\n", transport="udp")
    assert [args for _, args, _ in chain(replayed(recorded))] == [(b"1",), (b"2",)]


@pytest.mark.parametrize("state", [REPLAYED, REPLIED])
def test_a_udp_repeat_with_more_padding_has_the_answer(state: str) -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a ERR too-large 100 pad\n", transport="udp")
    recorded.call(b"a CALL price ####", b"a OK 1\n", state, transport="udp")
    recorded.call(b"a CALL price ####", b"a OK 1\n", REPLAYED, transport="udp")
    assert chain(replayed(recorded)) == [([], (b"1",), None)]


def test_an_answer_about_the_transport_is_replayed_only_without_another() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price 1", b"a ERR use-tcp\n", transport="udp")
    recorded.call(b"b CALL price 1", b"b OK 1\n")
    recorded.call(b"c CALL feed", b"c ERR too-large 0 use-tcp\n", transport="udp")
    portal = replayed(recorded)
    assert chain(portal) == [([], (b"1",), None)]
    assert chain(portal, "feed") == [([], (b"too-large", b"0", b"use-tcp"), None)]


def test_an_answer_that_is_too_long_for_this_portal() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK %b\n" % (b"x" * 1000))
    assert len(chain(replayed(recorded))) == 1
    with pytest.raises(RecordingError, match="line 3: an answer has a line of 1006 bytes, and"):
        replayed(recorded, max_line=600)


def test_an_answer_that_fits_only_with_a_short_tag_is_checked_later() -> None:
    recorded = Recorded()
    recorded.call(b"a CALL price", b"a OK %b\n" % (b"x" * 594))
    assert chain(replayed(recorded, max_line=600)) == [([0.0], (b"x" * 594,), None)]
