"""The dissector, run by tshark on captures of datagrams."""

from __future__ import annotations

from tests.signatures.dissection import Dissect, Said, udp_capture

TAG = b"0123456789abcdef"


def test_a_request_that_is_sent_again(dissect: Dissect) -> None:
    said: list[Said] = [
        ("client", TAG + b" CALL count\n"),
        ("client", TAG + b" CALL count\n"),
        ("server", TAG + b" OK 1\n"),
        ("client", TAG + b" CALL count ####\n"),
        ("server", TAG + b" OK 1\n"),
    ]
    first, again, reply, later, repeated = dissect(udp_capture(said))
    assert first.fields.keys().isdisjoint({"retransmission_of", "retransmission"})
    assert (again.get("retransmission_of"), again.get("retransmission")) == ("1", "")
    assert (later.get("retransmission_of"), later.get("response_in")) == ("1", "3")
    assert (first.get("response_in"), reply.get("response_to")) == ("3", "1")
    assert reply.get("time") == "0.500000000"
    assert reply.fields.keys().isdisjoint({"repeated_reply", "replayed"})
    assert (repeated.get("repeated_reply"), repeated.get("replayed")) == ("3", "")


def test_a_reply_that_needs_room(dissect: Dissect) -> None:
    said: list[Said] = [
        ("client", TAG + b" HELLO ESPS/1\n"),
        ("server", TAG + b" ERR too-large 38 pad%20it\n"),
        ("client", TAG + b" HELLO ESPS/1 #######\n"),
        ("server", TAG + b" OK ESPS/1 esps-portal/0.1.0 idle=600\n"),
    ]
    _, refused, padded, reply = dissect(udp_capture(said))
    assert (refused.get("needed"), refused.get("text")) == ("38", "pad it")
    assert (padded.get("padded_from"), padded.get("padding")) == ("1", "7")
    assert (refused.get("response_to"), reply.get("response_to")) == ("1", "3")
    assert "retransmission" not in padded.fields


def test_an_absurd_length_is_no_number(dissect: Dissect) -> None:
    said: list[Said] = [("server", TAG + b" ERR too-large 99999999999\n")]
    (reply,) = dissect(udp_capture(said))
    assert (reply.get("code"), reply.get("needed")) == ("too-large", None)


def test_another_request_under_a_tag(dissect: Dissect) -> None:
    said: list[Said] = [
        ("client", TAG + b" CALL delay 500\n"),
        ("client", TAG + b" CALL count one\n"),
        ("client", TAG + b" CALL count two\n"),
        ("server", b"* ERR tag-in-use " + TAG + b"\n"),
        ("server", b"* ERR tag-in-use " + TAG + b"\n"),
        ("server", TAG + b" OK\n"),
        ("server", b"unasked OK\n"),
    ]
    lines = dissect(udp_capture(said))
    assert [line.get("tag_reused") for line in lines[:3]] == [None, "", ""]
    assert [line.get("response_to") for line in lines[3:]] == ["2", "3", "1", None]
    assert [line.get("unasked") for line in lines[3:]] == [None, None, None, ""]


def test_a_datagram_that_is_no_request(dissect: Dissect) -> None:
    """A request is one line and has its LF; a reply may have several lines."""
    said: list[Said] = [
        ("client", b"a PING\nb PING\n"),
        ("client", b"a PING"),
        ("client", b"* ERR bad-line\n"),
        ("server", b"a DATA 1\na OK 1\n"),
    ]
    lines = dissect(udp_capture(said))
    assert [line.get("malformed") for line in lines] == [
        "more than one line",
        "no LF at the end",
        "no tag",
        None,
        None,
    ]


def test_the_same_tag_of_two_clients(dissect: Dissect) -> None:
    said: list[Said] = [("client", b"a CALL count\n"), ("server", b"a OK 1\n")]
    other: list[Said] = [("client", b"a PING\n"), ("server", b"a OK\n")]
    lines = dissect(udp_capture(said, other))
    assert [line.get("response_to") for line in lines] == [None, "1", None, "3"]
    assert [line.get("tag_reused") for line in lines] == [None] * 4
