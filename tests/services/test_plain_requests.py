"""Plain requests that are answered in bulk are answered as one by one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esps_portal import CallContext, Portal, ReplyError
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.protocol.messages import Reply
from esps_portal.protocol.received_lines import PlainRequest, ReceivedLines, plain_to_request
from esps_portal.services.call import Call, Caller
from esps_portal.services.dispatcher import Dispatcher, Outcome
from esps_portal.services.service import CloseAfter


class Client(Caller):
    transport = "tcp"
    remote = ("127.0.0.1", 1)

    def reserve(self, *, idempotent: bool, is_async: bool) -> bool:  # noqa: ARG002 - there is room
        return True


def fails() -> None:
    raise ValueError


def refuses(text: bytes = b"") -> None:
    raise ReplyError("x-no", text)


def new_portal() -> Portal:
    """Return a portal with a service of every kind."""
    portal = Portal()
    inline = portal.service(idempotent=True)
    inline(fails)
    inline(refuses)

    @inline
    def echo(*args: bytes) -> tuple[bytes, ...]:
        return args

    @inline
    def length(*args: bytes) -> list[str]:
        return [f"{len(arg)} bytes" for arg in args]

    @inline
    def requests() -> str:
        return str(portal.statistics.requests)

    @inline
    def close(data: bytes) -> CloseAfter:
        return CloseAfter(data)

    @inline
    def tag(*, call: CallContext) -> bytes:
        return call.tag

    @portal.service
    def counted(*args: bytes) -> tuple[bytes, ...]:
        return args[1:]

    @portal.service
    async def later(*args: bytes) -> tuple[bytes, ...]:
        return args

    return portal


def plain(*lines: bytes) -> list[PlainRequest]:
    """Return the requests in some lines, which are all plain."""
    received = ReceivedLines()
    received.add([b"".join(line + b"\n" for line in lines)])
    found: list[PlainRequest] = []
    while some := received.peek_plain(1000):  # those of one piece
        found += some
        received.skip(len(some))
    assert len(found) == len(lines)
    return found


ROOM = 1 << 16


def outcomes(portal: Dispatcher, requests: list[PlainRequest]) -> list[object]:
    """Answer all of them in bulk; return what each is answered with."""
    found: list[object] = []
    while len(found) < len(requests):
        replies, last = portal.answer_plain(requests[len(found) :], Client(), ROOM)
        assert replies or last is not None
        found += replies
        if last is not None:
            found.append(described(last))
    return found


def described(outcome: Outcome) -> object:
    """Return what can be compared of an outcome."""
    if isinstance(outcome, Reply):
        return outcome.encode()
    return ("call", outcome.request) if isinstance(outcome, Call) else outcome


class UDPClient(Client):
    transport = "udp"


def outcomes_over_udp(portal: Dispatcher, requests: list[PlainRequest]) -> list[object]:
    """Answer all of them in bulk, but with a caller of its own each that needs one."""
    found: list[object] = []
    while len(found) < len(requests):
        replies, last = portal.answer_plain(requests[len(found) :], None, ROOM)
        found += replies
        if last is not None:
            assert isinstance(last, Reply)
            found.append(described(last))
        elif len(found) < len(requests):
            request = plain_to_request(requests[len(found)])
            found.append(described(portal.answer(request, UDPClient())))
    return found


names = ["echo", "length", "requests", "close", "tag", "counted", "later", "fails", "refuses", "no"]
lines = st.builds(
    lambda verb, args: b" ".join([b"t", verb, *args]),
    st.sampled_from([b"PING", *(b"CALL " + name.encode() for name in names)]),
    st.lists(st.sampled_from([b"a", b"$&+", b"x" * 200]), max_size=2),
)


@pytest.mark.parametrize("scripted", [False, True])
@given(st.lists(lines, min_size=1, max_size=12))
def test_in_bulk_and_one_by_one(scripted: bool, lines: list[bytes]) -> None:
    dispatchers: list[Dispatcher] = [new_portal(), new_portal()]
    if scripted:
        dispatchers = [with_stubs(portal) for portal in dispatchers]  # type: ignore[arg-type]
    bulk, single = dispatchers
    requests = plain(*lines)
    expected = [described(single.answer(plain_to_request(one), Client())) for one in requests]
    assert outcomes(bulk, requests) == expected
    assert bulk.statistics == single.statistics


@pytest.mark.parametrize("scripted", [False, True])
@given(st.lists(lines, max_size=12))
def test_over_udp(scripted: bool, lines: list[bytes]) -> None:
    dispatchers: list[Dispatcher] = [new_portal(), new_portal()]
    if scripted:
        dispatchers = [with_stubs(portal) for portal in dispatchers]  # type: ignore[arg-type]
    bulk, single = dispatchers
    requests = plain(*lines)
    expected = [described(single.answer(plain_to_request(one), UDPClient())) for one in requests]
    assert outcomes_over_udp(bulk, requests) == expected
    assert bulk.statistics == single.statistics


def with_stubs(portal: Portal) -> ScriptedPortal:
    """Return a portal with stubs before two services and a name that has none."""
    scripted = ScriptedPortal(portal)
    for name in ("length", "later", "no"):
        stub = Stub(name, ["a"], max_line=portal.limits.max_line)
        scripted.script.stubs.place(stub.reply("stubbed"))
    return scripted


def test_it_ends_once_its_time_is_up() -> None:
    portal = new_portal()
    requests = plain(*[b"1 CALL echo a", b"1 CALL length a"] * 3)
    for caller in (Client(), None):  # a service may take long, whatever it returns
        assert portal.answer_plain(requests, caller, ROOM, -math.inf) == ([b"1 OK a\n"], None)
    assert answered(portal, requests[1:], until=-math.inf) == 1
    assert answered(portal, plain(b"1 PING") * 6, until=-math.inf) == 6
    assert answered(portal, plain(b"1 PING") * 6 + requests, until=-math.inf) == 6
    assert answered(portal, requests, until=math.inf) == 6


def answered(
    portal: Portal, requests: list[PlainRequest], room: int = ROOM, until: float = math.inf
) -> int:
    """Return how many are answered at once."""
    replies, last = portal.answer_plain(requests, Client(), room, until)
    assert last is None
    return len(replies)


def test_it_ends_once_there_is_no_room_for_replies() -> None:
    portal = new_portal()
    requests = plain(*[b"1 CALL echo a", b"1 CALL length a"] * 3)
    assert answered(portal, requests, 1) == 2
    assert answered(portal, requests, len(b"1 OK 1%20bytes\n") + 1) == 4


def test_a_service_that_replaces_another_is_called() -> None:
    portal = new_portal()
    offered = portal.services
    request = plain(b"1 CALL echo a")

    @portal.service(name="echo")
    def other() -> str:
        return "other"

    (usage,), _ = portal.answer_plain(request, Client(), ROOM)
    assert usage.startswith(b"1 ERR bad-arguments ")
    portal.services = offered
    assert portal.answer_plain(request, Client(), ROOM) == ([b"1 OK a\n"], None)
    portal.services = []
    (unknown,), _ = portal.answer_plain(request, Client(), ROOM)
    assert unknown.startswith(b"1 ERR unknown-service ")
