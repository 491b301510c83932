"""The vectors for clients, run against the `ClientConnection` that both clients use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import pytest

from esps_portal.protocol.client_connection import ClientConnection
from esps_portal.protocol.errors import ClosedError, ProtocolError
from esps_portal.protocol.messages import (
    Reply,
    padded,
    parse_answer_untrusted,
    parse_request_untrusted,
)
from esps_portal.protocol.pending_request import PendingRequest
from esps_portal.protocol.retransmission import padded_length
from tests.spec.documents import line_of, vectors_of


class Client:
    """A connection that has sent the requests of a vector, with its tags."""

    def __init__(self, lines: Iterable[str]) -> None:
        requests = [parse_request_untrusted(line.encode()) for line in lines]
        tags = iter([request.tag for request in requests])
        self.connection = ClientConnection(lambda: next(tags))
        self.pending = [self.connection.ask(r.verb.decode(), r.args) for r in requests]

    def answers(self) -> dict[str, list[str]]:
        return {p.tag.decode(): list(map(_without_tag, _replies(p))) for p in self.pending}


def _replies(pending: PendingRequest) -> list[Reply]:
    rows = [Reply(b"x", b"DATA", row) for row in pending.rows]
    return rows + ([pending.final] if pending.final is not None else [])


def _without_tag(reply: Reply) -> str:
    return reply.encode().decode("ascii").removesuffix("\n").partition(" ")[2]


@pytest.mark.parametrize("vector", vectors_of("answer"))
def test_a_line_of_an_answer(vector: dict[str, Any]) -> None:
    line = line_of(vector)
    if "error" in vector:
        with pytest.raises(ProtocolError) as caught:
            parse_answer_untrusted(line)
        assert caught.value.code == vector["error"]
        return
    answer = parse_answer_untrusted(line)
    tag, kind = (answer.tag, answer.kind) if isinstance(answer, Reply) else (b"*", answer.word)
    assert (tag.decode(), kind.decode()) == (vector["tag"], vector["kind"])
    assert [arg.hex() for arg in answer.args] == vector["args_hex"]
    assert answer.encode().decode() == vector.get("canonical", vector["line"]) + "\n"


@pytest.mark.parametrize("piece", [1, 7, 10_000])
@pytest.mark.parametrize("vector", [v for v in vectors_of("client") if "receive" in v.values[0]])
def test_what_comes_over_tcp(vector: dict[str, Any], piece: int) -> None:  # ESPS-LINE-11
    client = Client(vector["requests"])
    data = vector["receive"].encode()
    refused = pytest.raises(ProtocolError) if "broken" in vector else contextlib.nullcontext()
    with refused, contextlib.suppress(ClosedError):
        for start in range(0, len(data), piece):
            client.connection.receive_stream_untrusted(data[start : start + piece])
    assert client.answers() == vector["answers"]
    assert client.connection.bye_reason == vector.get("goodbye", "")


@pytest.mark.parametrize("vector", [v for v in vectors_of("client") if "datagrams" in v.values[0]])
def test_what_comes_over_udp(vector: dict[str, Any]) -> None:
    client = Client(vector["requests"])
    for datagram in vector["datagrams"]:
        client.connection.receive_datagram_untrusted(datagram.encode())
    again = [
        padded(pending.line, length).decode()
        for pending in client.pending
        if (length := padded_length(pending, len(pending.line), 4)) is not None
    ]
    assert again == ([vector["resend"]] if "resend" in vector else [])
    if "answers" in vector:
        assert client.answers() == vector["answers"]
