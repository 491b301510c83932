"""CANCEL, QUIT and the other ways in which calls and conversations end."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.protocol.messages import Notice, Reply, Request
from esps_portal.protocol.server_connection import CallState, Cancel, State
from tests.protocol.carrier import LIMITS, Carrier, converse, without_text
from tests.protocol.strategies import noise, quickly

# -- CANCEL


def cancelling() -> tuple[Carrier, Cancel]:
    """Return a conversation in which ``2 CANCEL 1`` waits for its call, and ``3 PING`` behind."""
    carrier = Carrier()
    carrier.conversation.receive(b"1 CALL a\n2 CANCEL 1\n3 PING\n")
    carrier.go_on()
    assert carrier.waiting is not None
    return carrier, carrier.waiting


def test_cancel_ends_the_call_at_once_and_is_answered_after_it() -> None:
    # ESPS-VERB-18
    carrier, cancel = cancelling()
    assert carrier.lines == [b"1 ERR cancelled"]
    assert cancel.call.state is CallState.CANCELLED
    carrier.end_cancelled()
    assert carrier.lines == [b"1 ERR cancelled", b"2 OK", b"3 OK"]


def test_a_cancelled_call_says_nothing_more() -> None:
    # ESPS-VERB-19
    carrier, cancel = cancelling()
    assert carrier.conversation.finish(cancel.call) is False


def test_a_cancelled_call_counts_until_it_has_ended() -> None:
    # ESPS-VERB-20
    carrier, cancel = cancelling()
    assert carrier.conversation.running == 1
    carrier.conversation.finish(cancel.call)
    assert carrier.conversation.running == 0


@pytest.mark.parametrize("target", [b"1", b"2", b"9"])
def test_only_a_running_call_can_be_cancelled(target: bytes) -> None:
    # ESPS-VERB-22: 1 has its final line, 2 is a CANCEL itself, 9 never was
    carrier, _ = cancelling()
    answer = carrier.conversation.read(b"4 CANCEL " + target)
    assert isinstance(answer, Reply)
    assert without_text(answer) == b"4 ERR not-in-flight"


def test_the_tag_of_the_call_is_free_and_that_of_the_cancel_is_not() -> None:
    carrier, cancel = cancelling()
    conversation = carrier.conversation
    assert conversation.read(b"2 PING") == Notice(b"ERR", (b"tag-in-use", b"2"))
    assert conversation.read(b"1 CALL b") == Request(b"1", b"CALL", (b"b",))
    again = conversation.begin(b"1")
    assert conversation.finish(cancel.call) is False
    assert conversation.cancelled(cancel).encode() == b"2 OK\n"
    assert conversation.read(b"1 PING") == Notice(b"ERR", (b"tag-in-use", b"1"))
    assert conversation.finish(again) is True
    assert conversation.read(b"2 PING") == Request(b"2", b"PING")


# -- QUIT and FIN


def test_quit_is_answered_last() -> None:
    # ESPS-END-1, ESPS-END-2
    carrier = converse([b"1 CALL a\n2 QUIT\n3 PING\n1 PING\nnonsense\n\n@\n"])
    assert carrier.state is State.QUITTING
    assert carrier.lines == []
    carrier.finish(carrier.calls[b"1"])
    carrier.say(carrier.conversation.drained())
    assert carrier.lines == [b"1 OK", b"2 OK"]


def test_quit_with_arguments_ends_nothing() -> None:
    # ESPS-VERB-24
    carrier = converse([b"1 QUIT now\n2 PING\n"])
    assert carrier.lines[-1] == b"2 OK"
    assert carrier.state is State.OPEN


def test_after_a_fin_calls_end_and_fragments_do_not_begin() -> None:
    # ESPS-END-3, ESPS-END-4
    carrier = converse([b"1 CALL a\n2 CALL b"])
    carrier.conversation.end_of_input()
    carrier.finish(carrier.calls[b"1"])
    assert carrier.conversation.drained() is None
    assert carrier.lines == [b"1 OK"]
    assert len(carrier.read) == 1


def test_a_fin_after_quit_is_no_news() -> None:
    carrier = converse([b"1 QUIT\n"])
    carrier.conversation.end_of_input()
    carrier.say(carrier.conversation.drained())
    assert carrier.lines == [b"1 OK"]


# -- the server closes, or nothing comes


def test_the_server_says_goodbye_and_refuses() -> None:
    # ESPS-END-5, ESPS-END-6, ESPS-END-7
    carrier = converse([b"1 CALL a\n2 CALL b\n"])
    carrier.say(carrier.conversation.shut_down())
    carrier.feed(b"3 PING\n1 PING\n")
    carrier.finish(carrier.calls[b"1"])
    carrier.expire()
    assert carrier.conversation.finish(carrier.calls[b"2"]) is False
    assert carrier.conversation.drained() is None
    assert carrier.lines == [
        b"* BYE closing",
        b"3 ERR closing",
        b"* ERR tag-in-use 1",
        b"1 OK",
        b"2 ERR closing",
    ]


def test_a_client_that_has_finished_is_told_nothing_of_a_shutdown() -> None:
    carrier = converse([b"1 QUIT\n"])
    assert carrier.conversation.shut_down() is None
    assert carrier.state is State.QUITTING


def test_an_idle_connection_is_told_so() -> None:
    carrier = Carrier()
    assert carrier.conversation.idle().encode() == b"* BYE idle\n"
    assert carrier.state is State.ENDED


@pytest.mark.parametrize("closing", [False, True])
def test_unterminated_input_ends_all(*, closing: bool) -> None:
    # ESPS-LINE-18: nothing is said after the one too-long, by running calls either
    carrier = converse([b"1 CALL a\n"])
    if closing:
        carrier.conversation.shut_down()
    carrier.feed(b"2 " + b"x" * LIMITS.max_unterminated, b"\n3 PING\n", b"\n" + b"x" * 2048 + b"\n")
    carrier.conversation.end_of_input()
    carrier.say(carrier.conversation.shut_down())
    carrier.expire()
    carrier.finish(carrier.calls[b"1"])
    assert carrier.lines == [b"2 ERR too-long"]
    assert carrier.state is State.ENDED


def test_two_endless_lines_in_one_piece_end_it_once() -> None:
    endless = b"x" * LIMITS.max_unterminated + b"\n"
    carrier = converse([endless * 2])
    assert carrier.lines == [b"* ERR too-long"]


# -- whatever the order

Event = bytes | Literal["finish", "shutdown", "end of input", "expire"]
events = st.lists(
    noise.filter(bool)
    | st.just(b"1 PING " + b"x" * LIMITS.max_unterminated)
    | st.sampled_from(["finish", "shutdown", "end of input", "expire"]),
    max_size=12,
)


def happen(carrier: Carrier, event: Event) -> None:
    conversation = carrier.conversation
    if isinstance(event, bytes):
        carrier.feed(event)
    elif event == "finish":
        carrier.finish_all()
    elif event == "shutdown" and carrier.state is not State.CLOSING:
        carrier.say(conversation.shut_down())
    elif event == "end of input":
        conversation.end_of_input()
    elif event == "expire" and carrier.state not in (State.OPEN, State.ENDED):
        carrier.expire()
        carrier.say(conversation.drained())


@quickly
@given(events)
def test_whatever_happens_nothing_is_raised_and_bounds_hold(whatever: list[Event]) -> None:
    # ESPS-END-10
    carrier = Carrier()
    for event in whatever:
        ended, said = carrier.state is State.ENDED, len(carrier.sent)
        happen(carrier, event)
        assert carrier.conversation.running <= LIMITS.max_in_flight
        if ended:
            assert carrier.state is State.ENDED
            assert len(carrier.sent) == said
