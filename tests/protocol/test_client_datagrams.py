"""The client connection over UDP: which datagrams answer a request."""

from __future__ import annotations

import pytest
from hypothesis import given

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import padded
from esps_portal.protocol.pending_request import PendingRequest
from tests.protocol.strategies import noise


def asked() -> tuple[ClientConnection, PendingRequest]:
    client = ClientConnection(lambda: b"mine")
    return client, client.ask("CALL", ("x",))


def test_a_datagram_holds_the_whole_answer() -> None:
    client, pending = asked()
    client.receive_datagram_untrusted(b"mine DATA a\nmine DATA b\r\nmine OK c\n")
    assert (list(pending.rows), pending.result()) == ([(b"a",), (b"b",)], (b"c",))


@pytest.mark.parametrize(
    "datagram",
    [
        *(b"", b"\n", b"mine OK", b"mine DATA a\n", b"mine OK\n\n", b"mine OK \n", b"\xff\n"),
        *(b"other OK\n", b"other DATA\nmine OK\n", b"* BYE idle\nmine OK\n", b"mine OK\n* BYE\n"),
        *(b"* ERR\n", b"* ERR busy mine\n", b"* BYE tag-in-use mine\n"),
        *(b"* ERR tag-in-use\n", b"* ERR tag-in-use other\n"),
    ],
)
def test_a_datagram_that_answers_something_else_is_ignored(datagram: bytes) -> None:
    # ESPS-UDP-32
    client, pending = asked()
    client.receive_datagram_untrusted(datagram)
    assert not pending.is_ready
    assert client.rejected in (datagram, b"")  # empty where it is another's answer
    client.receive_datagram_untrusted(b"mine OK\n")
    assert pending.result() == ()


def test_that_the_tag_is_in_use_is_an_answer() -> None:
    # ESPS-UDP-32
    client, pending = asked()
    client.receive_datagram_untrusted(b"* ERR tag-in-use mine\n")
    with pytest.raises(ReplyError, match="tag-in-use"):
        pending.result()


@given(noise)
def test_a_bad_datagram_raises_nothing(datagram: bytes) -> None:
    client, pending = asked()
    client.receive_datagram_untrusted(datagram)
    assert not pending.is_ready


def test_the_same_request_can_be_waited_for_again() -> None:
    # ESPS-UDP-18
    client, pending = asked()
    client.receive_datagram_untrusted(b"mine ERR too-large 41\n")
    assert pending.final is not None
    client.resume(pending)
    assert not pending.is_ready
    assert padded(pending.line, 41) == b"mine CALL x " + b"#" * 28 + b"\n"
    client.receive_datagram_untrusted(b"mine OK a\n")
    assert pending.result() == (b"a",)
    assert pending.line == b"mine CALL x\n"
