"""A portal in a thread starts and stops at once, leaves nothing, and says when it has died."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
import types

import psutil
import pytest
import trio

from esps_portal.net.bind import CannotBindError
from esps_portal.testing import (
    PortalController,
    PortalEndedError,
    open_portal,
    serve_in_thread,
)
from tests.clocks import PortalClock
from tests.patience import PATIENCE, until
from tests.sockets import connected, udp


class Death(KeyboardInterrupt):
    """What no portal catches: Ctrl-C alone ends it."""


def kill(portal: PortalController) -> None:
    """Raise in the portal's own loop."""

    def die() -> None:
        raise Death("in the loop")

    portal.service(name="die")(die)
    with connected(portal) as client:
        client.send(b"a CALL die\n")
        with contextlib.suppress(OSError):
            client.rest()
    with pytest.raises(PortalEndedError):
        until(lambda: portal.calls() is None)


def test_many_rounds_leave_nothing() -> None:
    with serve_in_thread():
        pass  # whatever is made once has been made
    process = psutil.Process()
    # Those of other tests may end meanwhile: trio keeps a worker thread for ten seconds.
    threads, descriptors = set(threading.enumerate()), process.num_fds()
    for number in range(60):
        with serve_in_thread() as portal:
            if number % 4 == 0:
                with connected(portal) as client, udp(portal) as datagrams:
                    client.send(b"a CALL stall\nb CALL delay 600000\n")
                    datagrams.send(b"c CALL delay 600000\n")
                    portal.wait_for(count=3, timeout=PATIENCE)
            elif number % 4 == 1:
                portal.down()
    assert set(threading.enumerate()) <= threads
    assert process.num_fds() <= descriptors


def test_stopping_waits_for_nothing_whatever_is_open(clock: PortalClock) -> None:
    """Time stands still: nothing that takes some, and be it a millisecond, would ever be over."""
    with contextlib.ExitStack() as stack:
        with serve_in_thread() as portal:
            clients = [stack.enter_context(connected(portal)) for _ in range(100)]
            for client in clients[:50]:
                client.send(b"a CALL stall\n")
            clients[50].send(b"a CALL ec")  # half a request
            portal.fault("stall", service="echo")
            clients[51].send(b"a CALL echo\n")
            portal.wait_for(count=51, timeout=PATIENCE)
        assert not portal.is_running
        assert clients[50].rest() == b"* BYE closing\n"
        assert clients[51].rest() == b""


def test_a_port_that_is_taken(portal: PortalController) -> None:
    before = set(threading.enumerate())
    with pytest.raises(CannotBindError), serve_in_thread(port=portal.port):
        pass  # pragma: no cover - it does not get here
    assert set(threading.enumerate()) <= before


def test_an_error_in_the_block_ends_the_portal() -> None:
    with pytest.raises(ZeroDivisionError), serve_in_thread() as portal:
        raise ZeroDivisionError
    with pytest.raises(PortalEndedError):
        portal.calls()


def test_use_after_the_end() -> None:
    with serve_in_thread() as portal:
        fault, outage = portal.fault("reset"), portal.down()
    for use in (
        portal.calls,
        portal.reset,
        portal.down,
        portal.transcript,
        portal.verify,
        lambda: portal.stub("price"),
        lambda: portal.fault("reset"),
        lambda: portal.wait_for("price", timeout=PATIENCE),
    ):
        with pytest.raises(PortalEndedError, match="the portal has ended"):
            use()
    for undo in (fault.remove, outage.up):
        with contextlib.suppress(PortalEndedError):
            undo()


def test_a_portal_that_dies_says_why() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        kill(portal)
        for use in (portal.calls, portal.reset, portal.down, lambda: portal.stub("price")):
            with pytest.raises(PortalEndedError, match="died") as caught:
                use()
            assert isinstance(caught.value.__cause__, Death)
            assert "in the loop" in str(caught.value)


def test_the_death_ends_a_wait_at_once() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        killer = threading.Timer(0.05, kill, (portal,))
        killer.start()
        began = time.monotonic()
        with pytest.raises(PortalEndedError) as caught:
            portal.wait_for("price", timeout=PATIENCE)
        assert time.monotonic() - began < PATIENCE
        killer.join(PATIENCE)
        assert isinstance(caught.value.__cause__, Death)


async def test_the_death_ends_a_wait_in_a_coroutine_at_once() -> None:
    with contextlib.suppress(PortalEndedError), serve_in_thread() as portal:
        killer = threading.Timer(0.05, kill, (portal,))
        killer.start()
        with trio.fail_after(PATIENCE), pytest.raises(PortalEndedError):
            await portal.wait_for_async("price", timeout=2 * PATIENCE)
        killer.join(PATIENCE)


async def test_use_after_the_end_inside_trio() -> None:
    async with open_portal() as portal:
        fault = portal.fault("reset")
    with pytest.raises(PortalEndedError, match="the portal has ended"):
        portal.calls()
    with pytest.raises(PortalEndedError):
        fault.remove()


def test_calls_from_many_threads(portal: PortalController) -> None:
    wrong: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(30):
                portal.stub(name, str(number)).reply(str(number))
                drop = portal.fault("drop", service="nobody").optional()
                with drop, connected(portal) as client:
                    answer = client.call(f"a CALL {name} {number}".encode())
                    assert answer == f"a OK {number}\n".encode()
                portal.wait_for(name, count=number + 1, timeout=PATIENCE)
                assert len(portal.calls(name)) == number + 1
                portal.transcript()
        except BaseException as error:  # noqa: BLE001 - it is looked at in the test
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(f"thread-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert wrong == []
    portal.verify()


def test_a_service_may_use_its_own_portal(portal: PortalController) -> None:
    def place() -> str:
        portal.stub("placed").reply("yes")
        return str(len(portal.calls()))

    portal.service(name="place")(place)
    with connected(portal) as client:
        assert client.call(b"a CALL echo") == b"a OK\n"
        assert client.call(b"b CALL place") == b"b OK 1\n"
        assert client.call(b"c CALL placed") == b"c OK yes\n"


async def test_a_portal_in_a_thread_serves_a_trio_test(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    stream = await trio.open_tcp_stream(portal.host, portal.port)
    async with stream:
        await stream.send_all(b"a CALL price\na QUIT\n")
        data = b""
        while piece := await stream.receive_some():
            data += piece
    assert data.splitlines()[1:] == [b"a OK 9.99", b"a OK"]
    portal.verify()
    portal.reset()


def test_use_in_a_forked_process() -> None:
    script = """
import os
from esps_portal.testing import PortalEndedError, serve_in_thread

with serve_in_thread() as portal:
    child = os.fork()
    if not child:
        try:
            portal.calls()
        except PortalEndedError as error:
            print(error, flush=True)
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert portal.calls() == []
"""
    command = [sys.executable, "-W", "ignore", "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout == "the portal runs in the process that this one was forked from\n"


def test_gevent_has_replaced_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trio would say that `select` has no epoll, or wait indefinitely in a thread that is none."""
    gevent = types.SimpleNamespace(is_module_patched=lambda name: name in {"socket", "threading"})
    monkeypatch.setitem(sys.modules, "gevent.monkey", gevent)
    with (
        pytest.raises(RuntimeError, match=r"^gevent has replaced socket, threading .* run -- CMD$"),
        serve_in_thread(),
    ):
        pass  # pragma: no cover - it does not get here


def test_gevent_has_replaced_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    gevent = types.SimpleNamespace(is_module_patched=lambda _: False)
    monkeypatch.setitem(sys.modules, "gevent.monkey", gevent)
    with serve_in_thread() as portal:
        assert portal.is_running
