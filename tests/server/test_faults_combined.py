"""Faults that meet something else: CANCEL, QUIT, a shutdown, other calls. Lines stay whole."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import trio
import trio.testing

from esps_portal import CallContext, Limits
from esps_portal.faults.fault import Fault
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.testing import FaultName, PortalController
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.portals import Running, StreamPeer, in_memory, running
from tests.sockets import closed, connected

SLOW: list[tuple[str, dict[str, Any]]] = [
    ("latency", {"seconds": 600}),
    ("bandwidth", {"bytes_per_second": 1}),
    ("slice", {"pause": 600}),
    ("slice", {"pause": 600, "at": "before-lf"}),
    ("coalesce", {"replies": 2, "seconds": 600}),
]


def scripted(kind: str, **said: Any) -> ScriptedPortal:  # noqa: ANN401 - what a fault is told
    portal = ScriptedPortal(builtin_portal("test/1", Limits(drain=0.2, linger=0.2)))
    portal.script.faults.place(Fault.create(kind, **said))
    return portal


async def until_faulted(portal: ScriptedPortal) -> None:
    deadline = time.monotonic() + PATIENCE  # trio's own clock may stand still
    while not portal.script.faults.in_force[0].happened:
        assert time.monotonic() < deadline
        await trio.lowlevel.checkpoint()
    await trio.testing.wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def struck(
    portal: ScriptedPortal, requests: bytes
) -> AsyncIterator[tuple[Running, StreamPeer]]:
    """Serve a portal, and send it what its first fault strikes; the client has read nothing yet."""
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(requests)
        await until_faulted(portal)
        yield listening, client


async def rest(peer: StreamPeer) -> list[bytes]:
    return (await peer.rest()).splitlines(keepends=True)


# -- a shutdown


@pytest.mark.parametrize(("kind", "said"), SLOW)
async def test_a_shutdown_cuts_a_slow_fault_short(kind: str, said: dict[str, Any]) -> None:
    portal = scripted(kind, service="echo", **said)
    async with struck(portal, b"a CALL echo xyz\n") as (listening, client):
        listening.shut_down()
        assert await rest(client) == [b"a OK xyz\n", b"* BYE closing\n"]
    (call,) = portal.script.journal.calls
    assert (call.state, call.sent) == ("faulted", b"a OK xyz\n")


@pytest.mark.parametrize(("kind", "said"), SLOW)
async def test_a_shutdown_while_a_running_call_is_answered_slowly(
    kind: str, said: dict[str, Any]
) -> None:
    """What is out in part is completed; what is not has as long as the drain."""
    portal = scripted(kind, service="delay", **said)
    async with struck(portal, b"a CALL delay 0 xyz\nb PING\n") as (listening, client):
        listening.shut_down()
        found = await rest(client)
    out = kind in {"slice", "coalesce"}
    refused = b"a ERR closing the%20call%20did%20not%20end%20in%20time\n"
    assert sorted(found) == sorted(
        [b"* BYE closing\n", b"b OK\n", b"a OK xyz\n" if out else refused]
    )


async def test_a_shutdown_before_a_late_request_is_executed() -> None:
    portal = scripted("latency", seconds=600, when="before")
    async with struck(portal, b"a CALL count\n") as (listening, client):
        listening.shut_down()
        assert await rest(client) == [b"* BYE closing\n"]
    (call,) = portal.script.journal.calls
    assert call.state == "aborted"


@pytest.mark.parametrize("kind", ["stall", "half-close"])
async def test_a_shutdown_ends_what_is_mute(kind: str) -> None:
    portal = scripted(kind)
    async with struck(portal, b"a PING\n") as (listening, client):
        listening.shut_down()
        assert await rest(client) == []


async def test_a_line_that_waits_its_turn_is_not_lost() -> None:
    portal = scripted("slice", pause=600, service="delay")
    async with struck(portal, b"a CALL delay 0 xyz\n") as (listening, client):
        await client.send(b"b PING\n")
        await trio.testing.wait_all_tasks_blocked()
        listening.shut_down()
        assert await rest(client) == [b"a OK xyz\n", b"b OK\n", b"* BYE closing\n"]


async def test_a_cancel_that_waits_its_turn_is_answered() -> None:
    portal = scripted("slice", pause=600, service="delay")
    async with struck(portal, b"a CALL delay 0 xyz\n") as (listening, client):
        await client.send(b"b CANCEL a\n")
        await trio.testing.wait_all_tasks_blocked()
        listening.shut_down()
        first, second, third = await rest(client)
        assert (first, second) == (b"a OK xyz\n", b"* BYE closing\n")
        assert third.startswith(b"b ERR closing")


# -- CANCEL


def test_cancel_while_the_last_line_is_out_in_part(
    clock: PortalClock, portal: PortalController
) -> None:
    """The call has been answered: its line ends, and there is nothing to cancel."""
    portal.fault("slice", pause=600, service="delay")
    with connected(portal) as client:
        client.send(b"a CALL delay 0 xyz\n")
        assert client.receive() == b"a OK"
        client.send(b"b CANCEL a\n")
        clock.jump(600)
        assert client.line() == b" xyz\n"
        assert client.line().startswith(b"b ERR not-in-flight")
    assert [call.state for call in portal.calls()] == ["faulted"]


def test_cancel_while_a_line_of_a_stream_is_out_in_part(
    clock: PortalClock, portal: PortalController
) -> None:
    @portal.service
    async def rows(*, call: CallContext) -> None:
        for number in range(1, 4):
            await call.data(str(number))
        await trio.sleep_forever()  # only its end answers the CANCEL

    portal.fault("slice", at=1, pause=10, service="rows")
    with connected(portal) as client:
        client.send(b"a CALL rows\n")
        assert client.receive() == b"a"
        client.send(b"b CANCEL a\n")
        for _ in range(5):  # it may come when the next line has begun
            clock.jump(10)
        found = client.lines(2)
        while not found[-1].startswith(b"b"):
            found.append(client.line())
    *lines, cancelled, answer = found
    assert lines == [b" DATA 1\n", *(b"a DATA %d\n" % n for n in range(2, len(lines) + 1))]
    assert (cancelled, answer) == (b"a ERR cancelled\n", b"b OK\n")


@pytest.mark.parametrize("kind", ["latency", "bandwidth"])
def test_cancel_what_is_late(
    portal: PortalController, kind: Literal["latency", "bandwidth"]
) -> None:
    """Nothing of it is out: it is cancelled as if it still ran."""
    said: dict[str, Any] = {"latency": {"seconds": 600}, "bandwidth": {"bytes_per_second": 1}}[kind]
    fault = portal.fault(kind, service="delay", **said)
    with connected(portal) as client:
        client.send(b"a CALL delay 0 xyz\n")
        fault.wait_for(timeout=PATIENCE)
        client.send(b"b CANCEL a\n")
        assert client.lines(2) == [b"a ERR cancelled\n", b"b OK\n"]
    (call,) = portal.calls()
    assert (call.state, call.sent) == ("aborted", b"a ERR cancelled\n")


def test_cancel_behind_lines_that_are_held(portal: PortalController) -> None:
    portal.fault("coalesce", replies=2, seconds=600, service="drip")
    with connected(portal) as client:
        client.send(b"a CALL drip 2 0\nx CALL drip 1 600000\n")
        client.assert_silence()
        client.send(b"b CANCEL x\n")
        assert client.lines(5) == [
            b"a DATA 1\n",
            b"a DATA 2\n",
            b"a OK 2\n",
            b"x ERR cancelled\n",
            b"b OK\n",
        ]


# -- QUIT and FIN


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("latency", {"seconds": 0.05}),
        ("bandwidth", {"bytes_per_second": 100}),
        ("slice", {"pause": 0.05}),
        ("coalesce", {"replies": 2, "seconds": 0.05}),
    ],
)
@pytest.mark.parametrize("service", [b"echo", b"delay 0"])
def test_quit_waits_for_what_is_slow(
    portal: PortalController, kind: FaultName, said: dict[str, Any], service: bytes
) -> None:
    portal.fault(kind, **said)
    with connected(portal) as client:
        client.send(b"a CALL " + service + b" xyz\nb QUIT\n")
        assert client.rest() == b"a OK xyz\nb OK\n"
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "fin")


@pytest.mark.parametrize(("first", "later"), [(b"b CALL count\n", b""), (b"", b"b CALL count\n")])
def test_quit_in_the_journal(portal: PortalController, first: bytes, later: bytes) -> None:
    """What follows it is there, whether it came with it or after the answer."""
    with connected(portal) as client:
        client.send(b"a QUIT\n" + first)
        assert client.rest() == b"a OK\n"
        client.send(later)
    closed(portal)
    quit_, thrown_away = (e.subject for e in portal.journal() if e.event == "received")
    assert [(call.verb, call.state, call.sent) for call in (quit_, thrown_away)] == [  # type: ignore[union-attr]
        ("QUIT", "replied", b"a OK\n"),
        ("CALL", "aborted", b""),
    ]


def test_what_follows_a_fatal_line_is_in_the_journal(portal: PortalController) -> None:
    with connected(portal) as client:
        client.send(b"GET / HTTP/1.1\r\n")
        client.rest()
        client.send(b"Host: x\r\n\r\n")
    closed(portal)
    fatal, ignored = (e.subject for e in portal.journal() if e.event == "received")
    assert [(line.data, line.state) for line in (fatal, ignored)] == [  # type: ignore[union-attr]
        (b"GET / HTTP/1.1\r", "replied"),
        (b"Host: x\r", "aborted"),
    ]


@pytest.mark.parametrize("service", [b"echo", b"delay 0"])
def test_fin_waits_for_what_is_slow(portal: PortalController, service: bytes) -> None:
    portal.fault("slice", pause=0.1)
    with connected(portal) as client:
        client.send(b"a CALL " + service + b" xyz\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b"a OK xyz\n"
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "fin")


@pytest.mark.parametrize("last", [b"", b"b QUIT\n"])
async def test_what_is_slower_than_the_drain(
    last: bytes, mock_clock: trio.testing.MockClock
) -> None:
    """It is completed, and its call refused no more."""
    portal = ScriptedPortal(builtin_portal("test/1", Limits(drain=8)))
    portal.script.faults.place(Fault.create("bandwidth", bytes_per_second=1, service="delay"))
    async with in_memory(portal) as connection:
        assert (await connection.client.receive_some()).startswith(b"* ESPS/1 ")
        await connection.send(b"a CALL delay 0 xyz\n" + last)
        await connection.client.send_eof()
        for _ in range(4):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(1)
        assert await connection.rest() == b"a OK xyz\n" + (b"b OK\n" if last else b"")
    assert [call.state for call in portal.script.journal.calls_of()] == ["faulted"]


# -- other calls


def test_no_line_gets_between_pieces(portal: PortalController) -> None:
    portal.fault("slice", at=3, pause=0.03, service="drip")
    with connected(portal) as client:
        client.send(b"a CALL drip 4 1\nb CALL drip 4 1\nc CALL delay 10 c\n")
        for number in range(8):
            client.send(b"p%d PING\n" % number)
        found = client.lines(19)
    for tag in (b"a", b"b"):
        mine = [line for line in found if line.startswith(tag)]
        assert mine == [b"%b DATA %d\n" % (tag, n) for n in range(1, 5)] + [b"%b OK 4\n" % tag]
    assert [line for line in found if line[:1] == b"p"] == [b"p%d OK\n" % n for n in range(8)]
    assert b"c OK c\n" in found


def test_held_lines_wait_their_turn(clock: PortalClock, portal: PortalController) -> None:
    portal.fault("coalesce", replies=9, seconds=60, service="echo")
    portal.fault("slice", pause=600, service="delay")
    with connected(portal) as client:
        client.send(b"a CALL echo held\nb CALL delay 0 xyz\n")
        assert client.exactly(4) == b"b OK"
        clock.jump(60)
        client.assert_silence()
        clock.jump(540)
        assert client.exactly(5) == b" xyz\n"
        assert client.line() == b"a OK held\n"


def test_the_end_of_one_call_ends_the_others(clock: PortalClock, portal: PortalController) -> None:
    portal.fault("close", service="delay")
    with connected(portal) as client:
        client.send(b"a CALL drip 100000 1000\nb CALL delay 20500\n")
        portal.wait_for(count=2, timeout=PATIENCE)
        for number in range(1, 21):
            clock.jump(1)
            assert client.line() == b"a DATA %d\n" % number
        clock.jump(0.5)
        assert client.rest() == b""
        client.socket.shutdown(socket.SHUT_WR)
        closed(portal)
    (connection,) = portal.connections()
    assert (connection.closed_by, connection.how) == ("portal", "fin")
    assert [call.state for call in portal.calls()] == ["aborted", "faulted"]


@pytest.mark.parametrize("kind", ["close", "reset", "stall", "half-close", "garbage"])
def test_an_end_on_a_stream(
    portal: PortalController, kind: Literal["close", "reset", "stall", "half-close", "garbage"]
) -> None:
    portal.fault(kind, service="drip")
    with connected(portal) as client:
        client.send(b"a CALL drip 3 0\n")
        if kind == "reset":
            client.assert_reset()
        elif kind == "stall":
            client.assert_silence()
        else:
            assert client.rest() == b"" if kind != "garbage" else len(client.rest()) == 64
    closed(portal)
    assert [call.state for call in portal.calls()] == ["faulted"]


# -- who closed first


def test_the_client_closes_first(portal: PortalController) -> None:
    with connected(portal) as client:
        client.call(b"a PING")
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "fin")
    assert not connection.is_reused


def test_the_client_resets_first(portal: PortalController) -> None:
    with connected(portal) as client:
        client.send(b"a CALL stall\nb PING\n")
        assert client.line() == b"b OK\n"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("client", "rst")
    assert connection.is_reused
    assert portal.calls("stall")[0].state == "aborted"


def test_the_portal_closes_first_though_the_client_then_breaks_off(
    portal: PortalController,
) -> None:
    with connected(portal) as client:
        client.send(b"a QUIT\n")
        assert client.rest() == b"a OK\n"
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (connection,) = closed(portal)
    assert (connection.closed_by, connection.how) == ("portal", "fin")


# -- a turn that several wait for


async def test_a_cancel_meets_a_call_that_waits_for_its_turn(  # ESPS-MSG-4, ESPS-MSG-5
    mock_clock: trio.testing.MockClock,
) -> None:
    portal = scripted("slice", pause=600, service="delay", request=1)
    async with struck(portal, b"a CALL delay 0\n") as (_, client):
        # The CANCEL waits for the turn first, and the call's own line behind it.
        await client.send(b"b CALL delay 1000\nc CANCEL b\nd QUIT\n")
        for seconds in (1, 600):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(seconds)
        assert await rest(client) == [b"a OK\n", b"b ERR cancelled\n", b"c OK\n", b"d OK\n"]


async def test_what_is_held_keeps_its_place_while_it_waits_for_its_turn(
    mock_clock: trio.testing.MockClock,
) -> None:
    portal = scripted("coalesce", replies=1, seconds=2, service="price")
    portal.script.faults.place(Fault.create("slice", pause=600, service="delay"))
    stub = Stub("price", (), max_line=8192).data("1").delay(1).reply("x")
    portal.script.stubs.place(stub)
    async with struck(portal, b"a CALL price\nb CALL delay 0\n") as (_, client):
        for seconds in (1, 1, 600):  # the reply, the end of the holding, the end of the turn
            mock_clock.jump(seconds)
            await trio.testing.wait_all_tasks_blocked()
        await client.send(b"c QUIT\n")
        lines = await rest(client)
        assert [line for line in lines if line.startswith(b"a ")] == [b"a DATA 1\n", b"a OK x\n"]


async def test_a_cancelled_stub_closes_nothing() -> None:  # ESPS-VERB-18
    portal = ScriptedPortal(builtin_portal("test/1"))
    stub = Stub("price", (), max_line=8192).delay(600).reply("x").then_close()
    portal.script.stubs.place(stub)
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL price\nb CANCEL a\nc PING\nd QUIT\n")
        lines = await rest(client)
    assert lines == [b"a ERR cancelled\n", b"b OK\n", b"c OK\n", b"d OK\n"]


async def test_an_over_long_line_is_one_request() -> None:
    portal = ScriptedPortal(builtin_portal("test/1"))
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"0 PING\na PING " + b"x" * 9000 + b"\nb QUIT\n")
        await client.rest()
    assert [call.state for call in portal.script.journal.calls] == ["replied"] * 3
    assert portal.script.journal.connections[0].requests == 3
