"""A line is encoded once, when it is sent, and not at all if it is too long to be sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from esps_portal import CallContext, Limits, Portal
from esps_portal.protocol import grammar
from esps_portal.protocol.datagram_server import DatagramServer
from esps_portal.protocol.errors import ReplyError
from esps_portal.protocol.messages import Reply, Request
from esps_portal.services.call import Call, Caller

LONG = bytes(range(256)) * 8
#: Over it, no UDP reply can carry the line, and no line the argument.
LIMITS = Limits(max_datagram=64, max_line=8192)


class Client(Caller):
    transport = "tcp"
    remote = ("127.0.0.1", 1)

    def reserve(self, *, idempotent: bool, is_async: bool) -> bool:  # noqa: ARG002 - there is room
        return True


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, ...]]:
    """Note the arguments of each line that is encoded."""
    noted: list[tuple[bytes, ...]] = []
    encode_args = grammar.encode_args

    def note(args: tuple[bytes, ...]) -> bytes:
        noted.append(args)
        return encode_args(args)

    monkeypatch.setattr(grammar, "encode_args", note)
    return noted


def replies() -> bytes:
    return LONG


def refuses() -> None:
    raise ReplyError("x-long", LONG)


async def sends(*, call: CallContext) -> None:
    await call.data(LONG)


async def run(function: Callable[..., object], limits: Limits = LIMITS) -> list[Reply]:
    """Call a service, and return the lines of its reply."""
    portal = Portal(limits=limits)
    portal.service(name="long")(function)
    outcome = portal.answer(Request(b"a", b"CALL", (b"long",)), Client())
    sent: list[Reply] = []

    async def send(reply: Reply) -> None:
        sent.append(reply)

    if isinstance(outcome, Call):
        outcome.send = send
        outcome = await outcome.run()
    assert isinstance(outcome, Reply)
    return [*sent, outcome]


@pytest.mark.parametrize("function", [replies, refuses, sends])
async def test_a_service_encodes_nothing(
    function: Callable[..., object], encoded: list[tuple[bytes, ...]]
) -> None:
    first, *_ = await run(function)
    assert first.args[-1] == LONG
    assert encoded == []
    assert first.size == len(first.encode())


@pytest.mark.parametrize("function", [replies, refuses])
async def test_an_answer_over_udp_that_does_not_fit_is_not_encoded(
    function: Callable[..., object], encoded: list[tuple[bytes, ...]]
) -> None:
    server = DatagramServer(LIMITS)
    server.clamp_reply(await run(function), b"a", 500)
    assert all(LONG not in args for args in encoded)


async def test_an_answer_over_udp_that_fits_is_encoded_once(
    encoded: list[tuple[bytes, ...]],
) -> None:
    server = DatagramServer(Limits(max_datagram=65507))
    lines = await run(sends)
    assert server.clamp_reply(lines, b"a", 5000) == b"".join([line.encode() for line in lines])
    assert [args for args in encoded if args] == [(LONG,)] * 2  # the second is this test's own
