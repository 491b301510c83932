"""Services of a user's own that fail in unforeseen ways: the call fails, the server goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.lowlevel

from esps_portal import CallContext, Portal, ReplyError
from esps_portal.mock.matching import Matcher
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.mock.stubs import Stub
from esps_portal.mock.verification import find_problems
from tests.portals import Running, running


async def assert_served(portal: Running) -> None:
    other = await portal.tcp()
    await other.send(b"z PING\n")
    assert await other.line() == b"z OK"


def refuse_in_octets() -> None:
    raise ReplyError(b"busy")  # type: ignore[arg-type]  # the mistake of somebody without mypy


def refuse_with_a_number() -> None:
    raise ReplyError("busy", 7)  # type: ignore[arg-type]  # the same


def refuse_with_half_a_character() -> None:
    raise ReplyError("\ud800")


def refuse_in_capitals() -> None:
    raise ReplyError("Busy")


async def fail_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)


async def fail() -> None:
    raise ValueError


async def fail_and_refuse_in_a_nursery() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        nursery.start_soon(sell_out)


async def sell_out() -> None:
    raise ReplyError("x-sold-out", "sorry")


@pytest.mark.parametrize(
    "function",
    [
        refuse_in_octets,
        refuse_with_a_number,
        refuse_with_half_a_character,
        refuse_in_capitals,
        fail_in_a_nursery,
        fail_and_refuse_in_a_nursery,
    ],
)
@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_an_unforeseen_failure(  # ESPS-VERB-15
    function: Callable[[], object], transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    # What is logged is not text, which xdist could not carry to its controller.
    caplog.set_level(logging.CRITICAL + 1, "esps_portal")
    portal = Portal()
    portal.service(name="shop")(function)
    async with running(portal) as listening:
        if transport == "tcp":
            client = await listening.tcp()
            await client.send(b"a CALL shop\n")
            answer = await client.line()
        else:
            answer = await listening.udp().ask(b"a CALL shop ##########\n")
        assert answer.startswith(b"a ERR failed")
        await assert_served(listening)
    assert portal.statistics.failed == 1


def unknown() -> object:
    return object()


def unawaited() -> object:
    return sell_out()


class Waiting:
    async def __call__(self) -> str:
        return "waited"


MAY_RETURN = "a service returns str, bytes, a list or tuple of those, or None"
GENERATOR = "an async def sends DATA lines with await call.data(...)"


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda: 3, f"it returned int: {MAY_RETURN}"),
        (lambda: True, f"it returned bool: {MAY_RETURN}"),
        (lambda: {"a": "b"}, f"it returned dict: {MAY_RETURN}"),
        (lambda: {"a"}, f"it returned set: {MAY_RETURN}"),
        (unknown, f"it returned object: {MAY_RETURN}"),
        (lambda: ("a", 3), f"it returned tuple with int in it: {MAY_RETURN}"),
        (lambda: [["a"]], f"it returned list with list in it: {MAY_RETURN}"),
        (lambda: range(3), f"it returned range with int in it: {MAY_RETURN}"),
        (
            lambda: (name for name in "ab"),
            f"it returned generator: {MAY_RETURN}; {GENERATOR}",
        ),
        (
            unawaited,
            f"it returned coroutine: {MAY_RETURN}; await it, in an async def",
        ),
        (lambda: "x" * 9000, "its reply would be 9006 bytes long, over 8192"),
    ],
)
@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
async def test_a_result_that_is_no_reply(  # ESPS-VERB-15
    function: Callable[[], object], says: str, awaited: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def wait() -> object:
        return function()

    portal = Portal()
    portal.service(name="shop")(wait if awaited else function)
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert (await client.line()).startswith(b"a ERR failed ")
        await assert_served(listening)
    (record,) = [record for record in caplog.records if record.name == "esps_portal"]
    assert record.getMessage() == f"service shop failed: {says}"
    assert record.exc_info is None


@pytest.mark.parametrize("nurseries", [0, 1, 2])
async def test_data_that_is_no_argument(nurseries: int, caplog: pytest.LogCaptureFixture) -> None:
    portal = ScriptedPortal(Portal())
    wrong: Any = 3

    async def send(call: CallContext, nurseries: int) -> None:
        if not nurseries:
            await call.data("a", wrong)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(send, call, nurseries - 1)

    @portal.portal.service
    async def shop(*, call: CallContext) -> None:
        await send(call, nurseries)

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert (await client.line()).startswith(b"a ERR failed ")
    (record,) = [record for record in caplog.records if record.name == "esps_portal"]
    says = "call.data takes str or bytes, got int"
    assert record.getMessage() == f"service shop failed: {says}"
    assert record.exc_info is None
    assert find_problems(portal.script) == [f"service shop failed:\n    {says}"]


async def test_another_failure_beside_it_has_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    portal = Portal()
    wrong: Any = 3

    async def fail() -> None:
        raise RuntimeError("also")

    @portal.service
    async def shop(*, call: CallContext) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.data, wrong)
            nursery.start_soon(fail)

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert (await client.line()).startswith(b"a ERR failed ")
    (record,) = [record for record in caplog.records if record.name == "esps_portal"]
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("function", "reply"),
    [
        (lambda: None, b"a OK"),
        (lambda: "é", b"a OK %C3%A9"),
        (lambda: bytearray(b"b"), b"a OK b"),
        (lambda: memoryview(b"b"), b"a OK b"),
        (lambda: ["a", b"b", bytearray(b"c")], b"a OK a b c"),
        (lambda: (), b"a OK"),
        (Waiting(), b"a OK waited"),
    ],
)
async def test_a_result_that_is_one(function: Callable[[], object], reply: bytes) -> None:
    portal = Portal()
    portal.service(name="shop")(function)
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert await client.line() == reply


async def test_a_refusal_out_of_a_nursery_is_one() -> None:  # ESPS-VERB-17
    portal = Portal()

    @portal.service
    async def shop() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sell_out)

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert await client.line() == b"a ERR x-sold-out sorry"
    assert portal.statistics.failed == 0


@pytest.mark.parametrize("how", ["cancel", "fin"])
async def test_it_is_cancelled_and_fails_on_its_way_out(how: str) -> None:  # ESPS-VERB-15
    portal = Portal()

    @portal.service
    async def shop(*, call: CallContext) -> None:
        async def leave_badly() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_badly)
            nursery.start_soon(trio.sleep_forever)
            await call.data("open")

    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop\n")
        assert await client.line() == b"a DATA open"
        if how == "cancel":
            await client.send(b"b CANCEL a\n")
            assert (await client.line()).startswith(b"a ERR cancelled")
            assert await client.line() == b"b OK"
        else:
            await trio.aclose_forcefully(client.stream)
        await assert_served(listening)


async def test_too_much_for_a_datagram_from_tasks_of_its_own() -> None:  # ESPS-UDP-15
    portal = Portal()

    @portal.service
    async def flood(*, call: CallContext) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(call.data, "x" * 600)

    async with running(portal) as listening:
        assert await listening.udp().ask(b"a CALL flood ##\n") == b"a ERR too-large 0 use-tcp\n"
    assert portal.statistics.failed == 0


async def test_a_predicate_whose_words_are_no_text() -> None:
    def is_a(arg: bytes) -> bool:
        text = arg.decode("utf-8", "surrogateescape")
        raise ValueError(f"not a: {text}")

    wanted: list[Matcher] = [is_a]
    portal = ScriptedPortal(Portal())
    portal.script.stubs.place(Stub("shop", wanted, max_line=8192).reply("1"))
    async with running(portal) as listening:
        client = await listening.tcp()
        await client.send(b"a CALL shop %FF\n")
        assert (await client.line()).startswith(b"a ERR unmatched ")
        await assert_served(listening)
