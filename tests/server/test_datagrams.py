"""A portal over UDP, on real sockets: what is answered, how long, and how often it is executed.

The rules themselves, with time handed in, are tested with the protocol. Here the datagrams are
real, and where time matters the portal's clock stands still until a test moves it.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from functools import partial

import pytest
import trio
import trio.testing

from esps_portal import CallContext, Limits, Portal
from esps_portal.protocol.messages import padded
from esps_portal.server import datagrams as datagrams_module
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.service import CloseAfter
from tests.patience import PATIENCE
from tests.portals import DatagramPeer, running


class Held:
    """A portal with a service that ends when the test says so, and counts its executions."""

    def __init__(self, **limits: float) -> None:
        self.portal: Portal = builtin_portal("test/1", Limits(**limits))  # type: ignore[arg-type]
        self.executed = 0
        self.release = trio.Event()
        self.portal.service(name="hold", idempotent=True)(self.hold)

    async def hold(self, *args: bytes) -> tuple[bytes, ...]:
        self.executed += 1
        await self.release.wait()
        return args


async def test_one_datagram_holds_the_whole_answer() -> None:  # ESPS-UDP-2, ESPS-UDP-8
    async with running() as portal:
        peer = portal.udp()
        answer = await peer.ask(b"a CALL drip 3 1 ######\n")
        assert answer == b"a DATA 1\na DATA 2\na DATA 3\na OK 3\n"
        assert (await peer.ask(b"b HELLO ESPS/1 %b\n" % (b"#" * 40))).startswith(b"b OK ESPS/1 ")
        assert (await peer.ask(b"c LIST echo %b\n" % (b"#" * 40))).startswith(b"c OK echo i ")
        await peer.assert_silence()


async def test_many_at_once_are_each_answered_in_order() -> None:
    names = [b"echo x", b"count", b"stats", b"no-such", b"echo", b"delay 0 x", b"echo %41"]
    datagrams = [b"%d CALL %b %b\n" % (n, names[n % 7], b"#" * 99) for n in range(100)]
    plain = [b"%d CALL %b\n" % (n, names[n % 7]) for n in range(100, 200)]
    portal = builtin_portal("test/1")
    async with running(portal) as server:
        peer = server.udp()
        for datagram in (*datagrams, *plain):
            peer.send(datagram)
        answers = [await peer.receive() for _ in range(200)]
        # A call that runs is answered later, and counters are long: not all fit their request.
        at_once = [int(a.split()[0]) for a in answers if int(a.split()[0]) % 7 != 5]
        assert at_once == sorted(at_once)
        assert sorted(int(answer.split()[0]) for answer in answers) == list(range(200))
        counts = [a.split()[2] for a in answers if int(a.split()[0]) % 7 == 1]
        assert counts == [b"%d" % (n + 1) for n in range(len(counts))]
        assert portal.statistics.datagrams == 200


@pytest.mark.parametrize("result", ["text", ()])  # of which the second is its arguments
async def test_others_have_their_turn_while_many_are_answered(
    result: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each look at the clock finds that a second has passed: the time of a turn is always up.
    monkeypatch.setattr(datagrams_module, "monotonic", partial(next, itertools.count()))
    turns_before: list[int] = []
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    portal = builtin_portal("test/1")

    @portal.service(idempotent=True)
    def note() -> object:
        turns_before.append(turns)
        return result

    async with running(portal) as server, trio.open_nursery() as nursery:
        peer = server.udp()
        for number in range(20):
            peer.send(b"%d CALL note\n" % number)
        nursery.start_soon(take_turns)
        for _ in range(20):
            await peer.receive()
        nursery.cancel_scope.cancel()
    # In a round each task runs once, before the other or after it.
    assert len(turns_before) == 20
    assert len(set(turns_before)) >= 10


async def test_what_is_answered_has_left_when_others_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagrams_module, "monotonic", partial(next, itertools.count()))
    received, seen = 0, set()
    async with running() as server:
        peer = server.udp()
        for number in range(20):
            peer.send(b"%d PING %%41\n" % number)
        with trio.fail_after(PATIENCE):
            while received < 20:
                while has_answer(peer):
                    await peer.receive()
                    received += 1
                seen.add(received)
                await trio.lowlevel.checkpoint()
    # In a round each task runs once, before the other or after it.
    assert len(seen) >= 10


async def test_answers_to_what_was_read_together_leave_together() -> None:
    portal = builtin_portal("test/1")
    seen: list[bool] = []
    async with running(portal) as server:
        peer = server.udp()

        @portal.service(idempotent=True)
        def look() -> str:
            seen.append(has_answer(peer))
            return "looked"

        for number in range(3):
            peer.send(b"%d CALL look\n" % number)
            peer.send(b"%d PING %%41\n" % number)
        answers = [await peer.receive() for _ in range(6)]
    assert [int(answer.split()[0]) for answer in answers] == [0, 0, 1, 1, 2, 2]
    assert seen == [False] * 3


def has_answer(peer: DatagramPeer) -> bool:
    """Whether a datagram has come to a peer."""
    with contextlib.suppress(BlockingIOError):
        peer.socket.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK)
        return True
    return False


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\n",
        b"\r\n",
        b" \n",
        b"a:b PING\n",
        b"\xff\xfe PING\n",
        b"x" * 40 + b" PING\n",
        b"*",
        b"* BYE closing\n",
        b"* ERR bad-line\nx\n",
        b"a OK\n",
        b"a OK",
        b"a DATA x\nb\n",
        b"a ERR busy\r\n",
        b"a OK \x00\n",
        b"a\nb OK\n",  # its second token is what stands behind the first SP
        b"a X\n",  # its error has 19 bytes with the code alone
    ],
)
async def test_silence(datagram: bytes) -> None:
    # ESPS-UDP-4, ESPS-UDP-5, ESPS-UDP-6, ESPS-UDP-7, ESPS-UDP-17
    async with running() as portal:
        peer = portal.udp()
        peer.send(datagram)
        await peer.assert_silence()


@pytest.mark.parametrize(
    ("datagram", "answer"),
    [
        (b"abcdefgh PING", b"abcdefgh ERR bad-line"),
        (b"abcdefgh PING\nb PING\n", b"abcdefgh ERR bad-line"),
        (b"abcdefgh PING\n\n", b"abcdefgh ERR bad-line"),
        (b"abcdefgh PING \n", b"abcdefgh ERR bad-line"),
        (b"abcdefgh", b"abcdefgh ERR bad-line"),
        (b"a ERR\xff", b"a ERR bad-line"),  # its second token is not ERR
        (b"a PING " + b"x" * 8185 + b"\n", b"a ERR too-long"),
        (b"a QUIT ####\n", b"a ERR use-tcp"),
        (b"a CANCEL\n", b"a ERR use-tcp"),  # before its own bad-arguments
        (b"a CALL stall\n", b"a ERR use-tcp"),
        (b"a CALL close now\n", b"a ERR use-tcp"),
    ],
)
async def test_refusals(datagram: bytes, answer: bytes) -> None:
    # ESPS-UDP-3, ESPS-UDP-9, ESPS-CHK-4
    async with running() as portal:
        peer = portal.udp()
        got = await peer.ask(datagram)
        assert got[:-1].split(b" ")[:3] == answer.split(b" ")
        assert got.endswith(b"\n")
        assert len(got) <= 3 * len(datagram)
        await peer.assert_silence()


async def test_a_padded_request_gets_what_was_too_large() -> None:
    # ESPS-UDP-12, ESPS-UDP-14, ESPS-UDP-19, ESPS-ERR-2
    request = b"a LIST count\n"
    async with running() as portal:
        peer = portal.udp()
        whole = await peer.ask(padded(request, 1000))
        needed = -(-len(whole) // 3)
        for length in (0, needed - 2, needed - 1):
            told = await peer.ask(padded(request, length))
            assert told[:-1].split(b" ")[:4] == [b"a", b"ERR", b"too-large", b"%d" % needed]
        for length in (needed, needed + 1, 1000):
            assert len(padded(request, length)) == length
            assert await peer.ask(padded(request, length)) == whole


async def test_a_reply_over_the_largest_datagram() -> None:  # ESPS-UDP-13, ESPS-UDP-15
    async with running(max_datagram=100) as portal:
        peer = portal.udp()
        fits = b"a PING %b\n" % (b"x" * 94)
        assert await peer.ask(fits) == fits.replace(b"PING", b"OK")
        longer = b"a PING %b %b\n" % (b"x" * 95, b"#" * 900)
        assert await peer.ask(longer) == b"a ERR too-large 0 use-tcp\n"


async def test_an_error_loses_its_words_before_it_is_lost() -> None:
    # ESPS-UDP-16, ESPS-UDP-17
    async with running() as portal:
        peer = portal.udp()
        assert (await peer.ask(b"a QUIT now, please\n")).startswith(b"a ERR use-tcp QUIT")
        assert await peer.ask(b"a QUIT\n") == b"a ERR use-tcp\n"
        assert await peer.ask(b"a CALL count\n") == b"a OK 1\n"
        assert await peer.ask(b"a QUIT\n") == b"* ERR tag-in-use a\n"
        peer.send(b"a X\n")  # 12 bytes have no room for 19
        await peer.assert_silence()


async def test_a_repeat_is_answered_from_memory() -> None:  # ESPS-UDP-21, ESPS-UDP-23
    async with running() as portal:
        peer, other = portal.udp(), portal.udp()
        for padding in (b"", b" #", b" ########"):
            assert await peer.ask(b"a CALL %%63ount x%b\n" % padding) == b"a OK 1\n"
            assert await peer.ask(b"a CALL count %%78%b\r\n" % padding) == b"a OK 1\n"
        # The key is source and tag: under another of either it is another call.
        assert await other.ask(b"a CALL count x\n") == b"a OK 2\n"
        assert await peer.ask(b"b CALL count x\n") == b"b OK 3\n"


@pytest.mark.parametrize(
    "datagram",
    [b"a PING ######\n", b"a CALL count y\n", b"a CALL count x x\n", b"a COUNT x\n", b"a  xxxxx\n"],
)
async def test_another_request_under_a_remembered_tag(datagram: bytes) -> None:
    # ESPS-UDP-25, ESPS-CHK-3
    async with running() as portal:
        peer = portal.udp()
        assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"
        assert await peer.ask(datagram) == b"* ERR tag-in-use a\n"
        assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"


@pytest.mark.parametrize(
    "datagram",
    [
        b"a CALL nope ######\n",
        b"a CALL Count x ######\n",
        b"a CALL close ####\n",
        b"a NOPE ####\n",
    ],
)
async def test_what_came_before_execution_is_forgotten(datagram: bytes) -> None:  # ESPS-UDP-26
    async with running() as portal:
        peer = portal.udp()
        assert (await peer.ask(datagram)).startswith(b"a ERR ")
        assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"


@pytest.mark.parametrize(
    ("datagram", "code"),
    [(b"a CALL count x y ######\n", b"bad-arguments"), (b"a CALL count %b #\n", b"bad-arguments")],
)
async def test_the_arguments_of_a_service_are_its_own_matter(datagram: bytes, code: bytes) -> None:
    # ESPS-UDP-21, ESPS-UDP-23, ESPS-ERR-7
    datagram = datagram.replace(b"%b", b"x" * 65)
    async with running() as portal:
        peer = portal.udp()
        answer = await peer.ask(datagram)
        assert answer.startswith(b"a ERR " + code)
        assert await peer.ask(datagram) == answer
        assert await peer.ask(b"a CALL count x\n") == b"* ERR tag-in-use a\n"
        assert await peer.ask(b"b CALL count x\n") == b"b OK 1\n"  # it had no effect


async def test_a_refusal_by_the_service_is_remembered() -> None:  # ESPS-UDP-21, ESPS-UDP-23
    portal = builtin_portal("test/1")
    executed = []

    @portal.service
    def sell(item: bytes) -> None:
        executed.append(item)
        raise KeyError(item)

    async with running(portal) as listening:
        peer = listening.udp()
        first = await peer.ask(b"a CALL sell x ########\n")
        assert first.startswith(b"a ERR failed")
        assert await peer.ask(b"a CALL sell x ########\n") == first
        assert executed == [b"x"]


async def test_a_service_that_would_end_a_connection_fails() -> None:  # ESPS-VERB-15
    portal = builtin_portal("test/1")

    @portal.service
    def leave() -> CloseAfter:
        return CloseAfter()

    async with running(portal) as listening:
        peer = listening.udp()
        assert (await peer.ask(b"a CALL leave ########\n")).startswith(b"a ERR failed")
        assert await peer.ask(b"b PING\n") == b"b OK\n"
        client = await listening.tcp()
        await client.send(b"a CALL leave\n")
        assert await client.line() == b""


async def test_a_repeat_is_silent_while_the_call_runs() -> None:  # ESPS-UDP-20, ESPS-UDP-24
    held = Held()
    async with running(held.portal) as portal:
        peer = portal.udp()
        for _ in range(3):
            peer.send(b"a CALL hold x\n")
            await peer.assert_silence()
        assert await peer.ask(b"a CALL hold y\n") == b"* ERR tag-in-use a\n"
        held.release.set()
        assert await peer.receive() == b"a OK x\n"
        await peer.assert_silence()
        assert held.executed == 1
        # It is idempotent: once it has ended it may run again.
        assert await peer.ask(b"a CALL hold x\n") == b"a OK x\n"
        assert held.executed == 2


async def test_the_window(mock_clock: trio.testing.MockClock) -> None:  # ESPS-UDP-21, ESPS-UDP-22
    async with running(window=60) as portal:
        peer = portal.udp()
        assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"
        for _ in range(3):  # each repeat starts the window anew
            mock_clock.jump(59)
            assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"
        mock_clock.jump(59)
        assert await peer.ask(b"a PING\n") == b"* ERR tag-in-use a\n"
        mock_clock.jump(1)  # and what is not a repeat does not
        assert await peer.ask(b"a CALL count x\n") == b"a OK 2\n"


async def test_a_full_memory_forgets_nothing(mock_clock: trio.testing.MockClock) -> None:
    # ESPS-UDP-27, ESPS-UDP-28, ESPS-SEC-2
    async with running(max_remembered=2 * 16, window=60) as portal:  # one socket may hold two
        peer = portal.udp()
        assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"
        mock_clock.jump(30)
        assert await peer.ask(b"b CALL count x\n") == b"b OK 2\n"
        assert (await peer.ask(b"c CALL count x\n")).startswith(b"c ERR busy")
        assert (await peer.ask(b"c CALL delay 0\n")).startswith(b"c ERR busy")
        assert await peer.ask(b"c CALL echo x\n") == b"c OK x\n"  # need not be remembered
        assert await peer.ask(b"b CALL count x\n") == b"b OK 2\n"
        mock_clock.jump(30)  # the first one's window has passed, and the busy one was not executed
        assert await peer.ask(b"c CALL count x\n") == b"c OK 3\n"
        assert await peer.ask(b"b CALL count x\n") == b"b OK 2\n"


async def test_so_many_calls_run() -> None:  # ESPS-UDP-29
    held = Held(max_in_flight=4)  # one address may hold two, and one socket one
    async with running(held.portal) as portal:
        peer, other, third = portal.udp(), portal.udp(), portal.udp()
        peer.send(b"a CALL hold x\n")
        other.send(b"a CALL hold y\n")
        await other.assert_silence()
        await peer.assert_silence()
        assert (await other.ask(b"b CALL hold z\n")).startswith(b"b ERR busy")
        assert (await third.ask(b"b CALL hold z\n")).startswith(b"b ERR busy")
        assert await other.ask(b"b CALL count\n") == b"b OK 1\n"  # instant: it runs beside none
        held.release.set()
        assert await peer.receive() == b"a OK x\n"
        assert await other.receive() == b"a OK y\n"
        assert held.executed == 2


async def test_a_call_that_runs_too_long(mock_clock: trio.testing.MockClock) -> None:
    # ESPS-UDP-30
    held = Held(window=60)
    async with running(held.portal) as portal:
        peer = portal.udp()
        peer.send(b"a CALL hold x\n")
        await trio.testing.wait_all_tasks_blocked()  # it runs from now
        mock_clock.jump(59)
        await peer.assert_silence()
        mock_clock.jump(1)
        assert (await peer.receive()).startswith(b"a ERR failed")


async def test_closing(mock_clock: trio.testing.MockClock) -> None:  # ESPS-UDP-11
    held = Held(drain=5)
    async with running(held.portal) as portal:
        peer = portal.udp()
        assert await peer.ask(b"c CALL count x\n") == b"c OK 1\n"
        peer.send(b"a CALL hold x\n")
        await peer.assert_silence()
        portal.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        assert (await peer.ask(b"b PING ######\n")).startswith(b"b ERR closing")
        assert await peer.ask(b"c CALL count x\n") == b"c OK 1\n"  # not new: a repeat
        mock_clock.jump(5)
        assert (await peer.receive()).startswith(b"a ERR closing")
        assert held.executed == 1


def with_one_row(limits: Limits) -> Portal:
    """Return a portal whose service `slow` sends one line, and never ends."""
    portal = builtin_portal("test/1", limits)

    @portal.service
    async def slow(*_: bytes, call: CallContext) -> None:
        await call.data("1")
        await trio.sleep_forever()

    return portal


async def test_a_call_that_runs_too_long_keeps_its_lines(
    mock_clock: trio.testing.MockClock,
) -> None:  # ESPS-UDP-16
    portal = with_one_row(Limits(window=30))
    async with running(portal) as listening:
        peer = listening.udp()
        peer.send(b"a CALL slow %b\n" % (b"#" * 60))
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(30)
        assert (await peer.receive()).startswith(b"a DATA 1\na ERR failed ")


async def test_a_call_that_a_shutdown_refuses_keeps_its_lines() -> None:  # ESPS-UDP-16
    portal = with_one_row(Limits(drain=0.05))
    async with running(portal) as listening:
        peer = listening.udp()
        peer.send(b"a CALL slow %b\n" % (b"#" * 60))
        await peer.assert_silence()
        listening.shut_down()
        assert (await peer.receive()).startswith(b"a DATA 1\na ERR closing")
