"""The dissector, run by tshark on captures of datagrams."""

from __future__ import annotations

import pytest

from tests.signatures.dissection import Line, of_udp

pytestmark = pytest.mark.heavy

TAG = b"0123456789abcdef"


@of_udp(
    [
        ("client", TAG + b" CALL count\n"),
        ("client", TAG + b" CALL count\n"),
        ("server", TAG + b" OK 1\n"),
        ("client", TAG + b" CALL count ####\n"),
        ("server", TAG + b" OK 1\n"),
    ]
)
def test_a_request_that_is_sent_again(lines: list[Line]) -> None:
    first, again, reply, later, repeated = lines
    assert first.fields.keys().isdisjoint({"retransmission_of", "retransmission"})
    assert (again.get("retransmission_of"), again.get("retransmission")) == (str(first.frame), "")
    answered = (str(first.frame), str(reply.frame))
    assert (later.get("retransmission_of"), later.get("response_in")) == answered
    assert (reply.get("response_to"), first.get("response_in")) == answered
    assert reply.get("time") == "0.500000000"
    assert reply.fields.keys().isdisjoint({"repeated_reply", "replayed"})
    assert (repeated.get("repeated_reply"), repeated.get("replayed")) == (str(reply.frame), "")


@of_udp(
    [
        ("client", TAG + b" HELLO ESPS/1\n"),
        ("server", TAG + b" ERR too-large 38 pad%20it\n"),
        ("client", TAG + b" HELLO ESPS/1 #######\n"),
        ("server", TAG + b" OK ESPS/1 esps-portal/0.1.0 idle=600\n"),
    ]
)
def test_a_reply_that_needs_room(lines: list[Line]) -> None:
    first, refused, padded, reply = lines
    assert (refused.get("needed"), refused.get("text")) == ("38", "pad it")
    assert (padded.get("padded_from"), padded.get("padding")) == (str(first.frame), "7")
    assert refused.get("response_to") == str(first.frame)
    assert reply.get("response_to") == str(padded.frame)
    assert "retransmission" not in padded.fields


@of_udp(
    [
        ("server", TAG + b" ERR too-large 99999999999\n"),
    ]
)
def test_an_absurd_length_is_no_number(lines: list[Line]) -> None:
    (reply,) = lines
    assert (reply.get("code"), reply.get("needed")) == ("too-large", None)


@of_udp(
    [
        ("client", TAG + b" CALL delay 500\n"),
        ("client", TAG + b" CALL count one\n"),
        ("client", TAG + b" CALL count two\n"),
        ("server", b"* ERR tag-in-use " + TAG + b"\n"),
        ("server", b"* ERR tag-in-use " + TAG + b"\n"),
        ("server", TAG + b" OK\n"),
        ("server", b"unasked OK\n"),
    ]
)
def test_another_request_under_a_tag(lines: list[Line]) -> None:
    assert [line.get("tag_reused") for line in lines[:3]] == [None, "", ""]
    asked = [str(lines[number].frame) for number in (1, 2, 0)]
    assert [line.get("response_to") for line in lines[3:]] == [*asked, None]
    assert [line.get("unasked") for line in lines[3:]] == [None, None, None, ""]


@of_udp(
    [
        ("client", b"a PING\nb PING\n"),
        ("client", b"a PING"),
        ("client", b"* ERR bad-line\n"),
        ("server", b"a DATA 1\na OK 1\n"),
    ]
)
def test_a_datagram_that_is_no_request(lines: list[Line]) -> None:
    """A request is one line and has its LF; a reply may have several lines."""
    assert [line.get("malformed") for line in lines] == [
        "more than one line",
        "no LF at the end",
        "no tag",
        None,
        None,
    ]


@of_udp(
    [("client", b"a CALL count\n"), ("server", b"a OK 1\n")],
    [("client", b"a PING\n"), ("server", b"a OK\n")],
)
def test_the_same_tag_of_two_clients(lines: list[Line]) -> None:
    call, _, ping, _ = lines
    answers = [None, str(call.frame), None, str(ping.frame)]
    assert [line.get("response_to") for line in lines] == answers
    assert [line.get("tag_reused") for line in lines] == [None] * 4
