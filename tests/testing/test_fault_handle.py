"""The handle of a placed fault: waiting for it to strike, and what it says when it does not."""

from __future__ import annotations

import asyncio
import pickle
import threading
from functools import partial
from typing import Any

import pytest
import trio

from esps_portal.testing import (
    NotStruckError,
    PlacedFault,
    PortalController,
    PortalEndedError,
    open_portal,
    serve_in_thread,
)
from tests.patience import PATIENCE, until
from tests.sockets import connected, udp


def later(function: Any, *args: object) -> threading.Thread:  # noqa: ANN401 - any function
    thread = threading.Thread(target=function, args=args, daemon=True)
    thread.start()
    return thread


def ping(portal: PortalController, times: int = 1) -> None:
    with connected(portal) as client:
        for _ in range(times):
            client.send(b"a PING\n")
            client.receive()


def test_wait_for_in_a_thread(portal: PortalController) -> None:
    fault = portal.fault("no-terminator")
    pinging = later(ping, portal, 3)
    fault.wait_for(count=3, timeout=PATIENCE)
    assert fault.happened == 3
    fault.wait_for(2, 0)  # that was so already
    pinging.join(PATIENCE)


def test_wait_for_under_asyncio(portal: PortalController) -> None:
    async def main(fault: PlacedFault) -> None:
        pinging = later(ping, portal, 2)
        await fault.wait_for_async(count=2, timeout=PATIENCE)
        assert fault.happened == 2
        with pytest.raises(NotStruckError):
            await fault.wait_for_async(3, 0.01)
        with pytest.raises(RuntimeError, match=r"block the asyncio .* use `await fault\.wait_for_"):
            fault.wait_for()
        pinging.join(PATIENCE)

    asyncio.run(main(portal.fault("no-terminator")))


async def test_wait_for_under_trio(portal: PortalController) -> None:
    fault = portal.fault("no-terminator")
    pinging = later(ping, portal)
    await fault.wait_for_async(timeout=PATIENCE)
    with pytest.raises(NotStruckError):
        await fault.wait_for_async(2, 0.01)
    with pytest.raises(RuntimeError, match="would block the trio loop that runs here"):
        fault.wait_for()
    pinging.join(PATIENCE)


async def test_wait_for_in_the_portals_own_loop() -> None:
    async with open_portal() as portal, trio.open_nursery() as nursery:
        fault = portal.fault("no-terminator")
        nursery.start_soon(partial(trio.to_thread.run_sync, ping, portal))
        await fault.wait_for_async(timeout=PATIENCE)
        assert fault.happened == 1


def test_it_waits_for_the_first_action_and_not_for_the_choice(portal: PortalController) -> None:
    """The call runs on, so that there is no reply yet that could be reset."""
    fault = portal.fault("reset", service="delay").optional()
    late = portal.fault("latency", seconds=600, service="echo")
    with connected(portal) as running, connected(portal) as waiting:
        running.send(b"a CALL delay 600000\n")
        portal.wait_for("delay", timeout=PATIENCE)
        assert fault.happened == 0
        waiting.send(b"a CALL echo\n")
        late.wait_for(timeout=PATIENCE)  # it has begun to be late
    assert late.happened == 1


def test_before_over_udp_it_strikes_as_the_request_comes(portal: PortalController) -> None:
    with udp(portal) as client:
        for kind in ("drop", "delay"):
            arguments: Any = {"seconds": 600} if kind == "delay" else {}
            with portal.fault(kind, when="before", **arguments) as fault:
                client.send(b"a PING\n")
                fault.wait_for(timeout=PATIENCE)
                assert fault.happened == 1
    portal.verify()


def test_one_that_does_not_strike_says_why(portal: PortalController) -> None:
    fault = portal.fault("reset", service="price")
    ping(portal)
    with pytest.raises(NotStruckError) as caught:
        fault.wait_for(timeout=0.01)
    first, second, *transcript = str(caught.value).splitlines()
    assert first == "fault reset service=price struck 0 of 1 times in 0.01 s"
    assert second == (
        "    selected 0 times; nearest: PING (tcp #1): it calls no service;"
        " the fault is for 'price'"
    )
    assert any(line.endswith("--> a PING") for line in transcript)
    assert isinstance(caught.value, AssertionError | TimeoutError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - ours


def test_one_that_struck_too_rarely_says_how_often(portal: PortalController) -> None:
    fault = portal.fault("no-terminator")
    ping(portal)
    with pytest.raises(NotStruckError) as caught:
        fault.wait_for(2, timeout=0.01)
    first, second, *_ = str(caught.value).splitlines()
    assert first == "fault no-terminator struck 1 of 2 times in 0.01 s"
    assert "opened by" in second


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"count": 0}, ValueError, "count must be a positive integer, got 0"),
        ({"count": True}, ValueError, "count must be a positive integer, got True"),
        ({"timeout": -1}, ValueError, "timeout must be a number of seconds, 0 or more, got -1"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds, got '1'"),
    ],
)
def test_what_cannot_be_waited_for(
    portal: PortalController, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    fault = portal.fault("reset")
    with pytest.raises(error, match=message):
        fault.wait_for(**arguments)


def test_whoever_waits_when_the_portal_ends_is_woken() -> None:
    with serve_in_thread() as portal:
        fault = portal.fault("reset")
        woken: list[BaseException] = []

        def wait() -> None:
            try:
                fault.wait_for(timeout=10 * PATIENCE)
            except PortalEndedError as error:
                woken.append(error)

        waiting = later(wait)
        until(lambda: portal._script.faults.waiters)  # noqa: SLF001 - nothing else tells
    waiting.join(PATIENCE)
    assert [str(error) for error in woken] == ["the portal has ended"]


def test_optional_returns_the_fault(portal: PortalController) -> None:
    with portal.fault("reset").optional() as fault:
        assert isinstance(fault, PlacedFault)
    portal.verify()


def test_a_reset_forgets_what_was_not_judged(portal: PortalController) -> None:
    portal.fault("reset").remove()
    portal.fault("close")
    assert len(portal.problems()) == 2
    with pytest.raises(AssertionError, match="fault never struck: reset\n"):
        portal.verify()
    portal.reset()
    portal.verify()


@pytest.mark.parametrize("end", ["remove", "block"])
def test_the_block_of_one_that_has_ended(portal: PortalController, end: str) -> None:
    """The test in it would pass without the fault."""
    fault = portal.fault("reset")
    if end == "block":
        with fault:
            pass
    else:
        fault.remove()
    with pytest.raises(RuntimeError, match=r"fault reset is no longer in force: place it again"):
        fault.__enter__()


@pytest.mark.parametrize("end", ["heal", "reset"])
def test_the_block_of_one_that_another_thread_has_ended(portal: PortalController, end: str) -> None:
    """It may do so just before the block or at once in it: nobody can tell."""
    fault = portal.fault("reset").optional()
    getattr(portal, end)()
    with fault:
        ping(portal)


def test_the_block_of_one_that_has_struck_as_often_as_it_may(portal: PortalController) -> None:
    fault = portal.fault("no-terminator", times=1)
    ping(portal)
    with fault:
        assert fault.happened == 1
