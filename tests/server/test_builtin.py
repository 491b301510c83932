"""The built-in services, as the specification describes each of them, over real sockets."""

from __future__ import annotations

import datetime as dt
import os
import time

import pytest
import trio

from esps_portal.protocol.messages import Reply, parse_answer_untrusted
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.services.service import Service
from tests.portals import Running, running

ODD_NUMBERS = (b"", b"0", b"1", b"-1", b"+1", b"1.5", b"1e3", b"0x1", b"%20", b"%D9%A1", b"x" * 99)


async def lines_of(portal: Running, call: bytes) -> list[Reply]:
    """Call over TCP and return all lines of the answer."""
    peer = await portal.tcp()
    await peer.send(b"a CALL %b\n" % call)
    found: list[Reply] = []
    while not found or found[-1].kind == b"DATA":
        answer = parse_answer_untrusted(await peer.line())
        assert isinstance(answer, Reply)
        found.append(answer)
    return found


async def result_of(portal: Running, call: bytes) -> tuple[bytes, ...]:
    """Call, and return the arguments of the OK, which is the only line."""
    (reply,) = await lines_of(portal, call)
    assert reply.kind == b"OK"
    return reply.args


async def test_echo_and_discard() -> None:  # ESPS-SVC-1
    async with running() as portal:
        assert await result_of(portal, b"echo") == ()
        assert await result_of(portal, b'echo %00%FF "" x') == (b"\x00\xff", b"", b"x")
        assert await result_of(portal, b"discard x y") == ()


@pytest.mark.parametrize("width", [None, 1, 72, 95, 512])
async def test_chargen(width: int | None) -> None:  # ESPS-SVC-1
    ring = bytes(range(0x20, 0x7F))
    async with running() as portal:
        *rows, last = await lines_of(portal, b"chargen 100" + (b" %d" % width if width else b""))
    assert (last.kind, last.args) == (b"OK", ())
    assert len(rows) == 100
    for k, row in enumerate(rows):
        assert row.args == (bytes(ring[(k + n) % 95] for n in range(width or 72)),)


async def test_time() -> None:  # ESPS-SVC-1
    before = time.time()
    async with running() as portal:
        text, seconds = await result_of(portal, b"time")
    after = time.time()
    assert before - 0.001 <= float(seconds) <= after + 0.001
    said = dt.datetime.fromisoformat(text.decode("ascii"))
    assert said.utcoffset() == dt.timedelta(0)
    assert text.endswith(b"Z")
    assert abs(said.timestamp() - float(seconds)) < 0.001


async def test_whoami() -> None:  # ESPS-SVC-1
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL whoami\n")
        port = peer.stream.socket.getsockname()[1]
        assert await peer.line() == b"a OK 127.0.0.1 %d tcp" % port
        other = portal.udp()
        port = other.socket.getsockname()[1]
        assert await other.ask(b"a CALL whoami\n") == b"a OK 127.0.0.1 %d udp\n" % port


async def test_random() -> None:  # ESPS-SVC-1
    async with running() as portal:
        for size in (0, 1, 2048):
            (octets,) = await result_of(portal, b"random %d" % size)
            assert len(octets) == size
        first = await result_of(portal, b"random 64 seed")
        assert first == await result_of(portal, b"random 64 seed")
        assert first != await result_of(portal, b"random 64 other")
        assert await result_of(portal, b"random 64") != await result_of(portal, b"random 64")


async def test_delay_and_drip() -> None:  # ESPS-SVC-1
    async with running() as portal:
        before = trio.current_time()
        assert await result_of(portal, b'delay 20 x ""') == (b"x", b"")
        assert trio.current_time() - before >= 0.02
        before = trio.current_time()
        lines = await lines_of(portal, b"drip 3 10")
        assert trio.current_time() - before >= 0.03
        assert [(line.kind, line.args) for line in lines] == [
            (b"DATA", (b"1",)),
            (b"DATA", (b"2",)),
            (b"DATA", (b"3",)),
            (b"OK", (b"3",)),
        ]
        assert [(line.kind, line.args) for line in await lines_of(portal, b"drip 0 9")] == [
            (b"OK", (b"0",))
        ]


async def test_count_and_fail() -> None:  # ESPS-SVC-1
    async with running() as portal:
        for name, number in ((b"", 1), (b" x", 1), (b"", 2), (b" %78", 2), (b" X", 1), (b"", 3)):
            assert await result_of(portal, b"count" + name) == (b"%d" % number,)
        for code in (b"x-mine", b"busy", b"a", b"a" * 64):
            (reply,) = await lines_of(portal, b'fail %b some "" words' % code)
            assert (reply.kind, reply.args) == (b"ERR", (code, b"some", b"", b"words"))


async def test_stats() -> None:  # ESPS-SVC-1
    async with running() as portal:
        pairs = dict(arg.split(b"=") for arg in await result_of(portal, b"stats"))
        assert int(pairs[b"pid"]) == os.getpid()
        assert int(pairs[b"connections"]) == 1
        assert int(pairs[b"requests"]) == 1


async def test_counters_are_bounded() -> None:  # ESPS-SEC-2, ESPS-SVC-3
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"".join(b"a CALL count n%d\n" % n for n in range(1025)))
        answers = [await peer.line() for _ in range(1025)]
        assert set(answers) == {b"a OK 1"}
        await peer.send(b"a CALL count n7\nb CALL count n0\n")
        assert await peer.line() == b"a OK 2"
        assert await peer.line() == b"b OK 1"  # it was forgotten


async def test_close() -> None:  # ESPS-SVC-1
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL close\nb PING\n")
        assert await peer.rest() == b""


async def test_reset() -> None:  # ESPS-SVC-1
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL reset\nb PING\n")
        with pytest.raises(trio.BrokenResourceError) as caught:
            await peer.rest()
        assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_stall() -> None:  # ESPS-SVC-1
    async with running(drain=0.01) as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL stall\nb PING\nc CANCEL a\nd CALL stall\ne QUIT\n")
        assert await peer.line() == b"b OK"
        assert await peer.line() == b"a ERR cancelled"
        assert await peer.line() == b"c OK"
        assert (await peer.line()).startswith(b"d ERR closing")
        assert await peer.rest() == b"e OK\n"


@pytest.mark.parametrize("size", [0, 1, 4, 5, 8000])
async def test_truncate(size: int) -> None:  # ESPS-SVC-1
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL truncate %d\nb PING\n" % size)
        rest = await peer.rest()
    assert len(rest) == size
    assert rest[:4] == b"a OK"[:size]
    assert b"\n" not in rest


async def test_garbage() -> None:  # ESPS-SVC-1
    async with running() as portal:
        found = []
        for call in (b"0", b"500 seed", b"500 seed", b"500 other", b"500", b"500"):
            peer = await portal.tcp()
            await peer.send(b"a CALL garbage %b\nb PING\n" % call)
            found.append(await peer.rest())
        assert [len(octets) for octets in found] == [0, 500, 500, 500, 500, 500]
        assert found[1] == found[2]
        assert len(set(found)) == 5


NUMBERS = [
    (b"chargen %b", 0, 100_000),
    (b"chargen 1 %b", 1, 512),
    (b"random %b", 0, 2048),
    (b"delay %b", 0, 3_600_000),
    (b"drip %b 0", 0, 100_000),
    (b"drip 0 %b", 0, 3_600_000),
    (b"truncate %b", 0, 8000),
    (b"garbage %b", 0, 8000),
]


@pytest.mark.parametrize(("call", "lowest", "highest"), NUMBERS)
async def test_numbers_out_of_range(call: bytes, lowest: int, highest: int) -> None:
    # ESPS-SVC-2
    wrong = [w for w in ODD_NUMBERS if not w.isdigit() or not lowest <= int(w) <= highest]
    async with running() as portal:
        for number in [*wrong, b"%d" % (highest + 1), b"9" * 5000]:
            (reply,) = await lines_of(portal, call % (number or b'""'))
            assert reply.args[0] == b"bad-arguments"


@pytest.mark.parametrize("service", builtin_portal("test/1").services, ids=lambda s: s.name)
async def test_the_number_of_arguments(service: Service) -> None:  # ESPS-SVC-2
    wrong = [count for count in (service.min_args - 1, service.max_args + 1) if 0 <= count < 99]
    async with running() as portal:
        for count in wrong:
            (reply,) = await lines_of(portal, service.name.encode() + b" 1" * count)
            assert reply.args[0] == b"bad-arguments"


async def test_a_user_may_replace_one() -> None:  # ESPS-SVC-1
    portal = builtin_portal("test/1")

    @portal.service(name="echo")
    def shout(*args: bytes) -> list[bytes]:
        return [arg.upper() for arg in args]

    async with running(portal) as listening:
        assert await result_of(listening, b"echo hi") == (b"HI",)
