"""A portal taken out of service and back, and reset: as sockets see it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from esps_portal import Limits, Portal
from esps_portal.net.connection_server import MAX_ENDED
from esps_portal.net.port_outage import OutageKind
from esps_portal.server import datagram_calls
from esps_portal.testing import PortalController, open_portal, serve_in_thread
from tests.clocks import PortalClock
from tests.net.served import assert_refused, assert_served, assert_taken, standing_still
from tests.patience import PATIENCE
from tests.portals import running
from tests.sockets import (
    ask,
    assert_no_datagram,
    connected,
    udp,
    until,
)


@pytest.fixture(name="portal", params=["127.0.0.1", "::1"])
def _portal(request: pytest.FixtureRequest) -> Iterator[PortalController]:
    with serve_in_thread(host=request.param) as portal:
        yield portal


def test_down_and_up_again_and_again(portal: PortalController) -> None:
    assert_served(portal)
    for _ in range(3):
        with portal.down():
            assert_refused(portal)
            assert_refused(portal)
            assert_taken(portal)
        assert_served(portal)
        assert_taken(portal)


def test_down_resets_what_is_open(portal: PortalController) -> None:
    with connected(portal) as idle, connected(portal) as busy:
        busy.send(b"a CALL stall\nb PING\n")
        assert busy.line() == b"b OK\n"
        with portal.down():
            for client in (idle, busy):
                with pytest.raises(ConnectionResetError):
                    client.receive()
            ended = [(c.closed_by, c.how) for c in portal.connections()]
            assert ended == [("portal", "rst")] * 2
    assert portal.calls("stall")[0].state == "aborted"


def test_all_that_was_open_is_closed_when_it_is_down(portal: PortalController) -> None:
    """Many connections, some of which are ended in each pass of the loop."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(portal)).socket for _ in range(10 * MAX_ENDED)]
        with portal.down():
            for client in reversed(clients):  # those that are ended last
                client.settimeout(0)
                with pytest.raises(ConnectionResetError):
                    client.recv(1)


def test_down_ends_a_udp_call_and_forgets_that_it_ran(portal: PortalController) -> None:
    with udp(portal) as client:
        client.send(b"a CALL delay 600000 x\n")
        portal.wait_for("delay", timeout=PATIENCE)
        with portal.down():
            until(lambda: portal.calls("delay")[0].state == "aborted", portal)
        client.send(b"a CALL delay 600000 x\n")
        portal.wait_for("delay", count=2, timeout=PATIENCE)
        assert ask(client, b"b PING\n") == b"b OK\n"


def test_what_was_answered_is_remembered_over_an_outage(portal: PortalController) -> None:
    with udp(portal) as client:
        assert ask(client, b"a CALL count x\n") == b"a OK 1\n"
        with portal.down():
            pass
        assert ask(client, b"a CALL count x\n") == b"a OK 1\n"


def test_stubs_and_faults_outlast_an_outage(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    portal.fault("truncate", bytes=4)
    with portal.down():
        portal.stub("other").optional()
    with connected(portal) as client:
        client.send(b"a CALL price\n")
        assert client.rest() == b"a OK"


def test_a_portal_that_is_down_can_be_left_and_reset() -> None:
    with serve_in_thread() as portal:
        portal.down()
        portal.reset()
        assert_served(portal)
        outage = portal.down()
        outage.up()
        outage.up()
        assert_served(portal)
        portal.down()
        portal.down()
        port = portal.port
    with serve_in_thread(port=port) as again:
        assert_served(again)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"udp": False}, socket.SOCK_STREAM),
        ({"tcp": False}, socket.SOCK_DGRAM),
    ],
)
def test_one_transport_alone(options: dict[str, bool], kind: int) -> None:
    with (
        serve_in_thread(**options) as portal,  # type: ignore[arg-type]
        portal.down(),
        socket.socket(socket.AF_INET, kind) as client,
    ):
        client.settimeout(PATIENCE)
        refused = pytest.raises(ConnectionRefusedError)
        if kind == socket.SOCK_DGRAM:
            client.connect((portal.host, portal.port))
            client.send(b"a PING\n")
            with refused:
                client.recv(100)
        else:
            with refused:
                client.connect((portal.host, portal.port))


def test_a_wildcard_is_still_one_afterwards() -> None:
    with serve_in_thread(host="0.0.0.0") as portal:
        with portal.down():
            pass
        for host in ("127.0.0.1", "127.0.0.2"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.connect((host, portal.port))
                assert ask(client, b"a PING\n") == b"a OK\n"


async def test_down_inside_trio_before_anything_has_run() -> None:
    async with open_portal() as portal:
        for _ in range(3):
            with portal.down():
                assert_refused(portal)
                assert_taken(portal)
        client = await trio.open_tcp_stream(portal.host, portal.port)
        assert (await client.receive_some()).startswith(b"* ESPS/1 ")
        await client.aclose()


async def test_what_was_open_is_not_answered_after_an_outage_inside_trio() -> None:
    """It has ended before anything could be reset in its turn."""
    async with open_portal() as portal, contextlib.AsyncExitStack() as stack:
        clients = []
        for _ in range(3 * MAX_ENDED):
            client = await trio.open_tcp_stream(portal.host, portal.port)
            clients.append(await stack.enter_async_context(client))
            assert (await client.receive_some()).startswith(b"* ESPS/1 ")
        for client in clients:
            os.write(client.socket.fileno(), b"a PING\n")
        with portal.down():
            pass
        for client in clients:
            with pytest.raises(trio.BrokenResourceError):
                await client.receive_some()


async def test_who_comes_after_a_short_outage_inside_trio_is_not_reset_for_it() -> None:
    """What that outage resets in its turn is what was open when it began."""
    async with open_portal() as portal:
        for _ in range(10):  # the order of tasks in a pass differs
            with portal.down():
                pass
            with socket.create_connection((portal.host, portal.port)) as client:
                client.setblocking(False)  # noqa: FBT003 - its only parameter
                with portal.down("silent"):  # what waits to be accepted goes on afterwards
                    await trio.testing.wait_all_tasks_blocked()
                await trio.testing.wait_all_tasks_blocked()
                assert client.recv(100).startswith(b"* ESPS/1 ")


def test_down_while_clients_come(portal: PortalController) -> None:
    """Whatever is under way when the sockets are closed, the portal survives it."""
    ended = threading.Event()

    def come() -> None:
        with udp(portal) as datagrams:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    datagrams.send(b"a PING\n")
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection((portal.host, portal.port), PATIENCE) as client,
                ):
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    client.sendall(b"a PING\n")

    threads = [threading.Thread(target=come) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            with portal.down():
                pass
    finally:
        ended.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert_served(portal)


# -- reset


def test_reset_is_a_fresh_start(portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    portal.fault("drop", service="nobody")
    with connected(portal) as client, udp(portal) as datagrams:
        assert client.call(b"a CALL count") == b"a OK 1\n"
        assert ask(datagrams, b"a CALL count x\n") == b"a OK 1\n"
        client.call(b"b CALL unknown")
        portal.reset()
        assert (portal.calls(), portal.connections(), portal.journal()) == ([], [], [])
        assert portal.problems() == []
        with pytest.raises(ConnectionResetError):
            client.receive()
        # The same datagram is a new call: what was remembered is forgotten.
        assert ask(datagrams, b"a CALL count x\n") == b"a OK 1\n"
    with connected(portal) as client:
        assert client.call(b"a CALL count") == b"a OK 1\n"
        assert client.call(b"b CALL price").startswith(b"b ERR unknown-service")
        stats = client.call(b"c CALL stats")
        assert b"connections=1 " in stats.replace(b"%3D", b"=") + b" "
    assert [connection.number for connection in portal.connections()] == [1]


def test_reset_empties_the_queues(portal: PortalController) -> None:
    """What came before it, and was not yet accepted or read, is not answered after it."""
    with contextlib.ExitStack() as stack:
        with standing_still(portal):
            clients = [stack.enter_context(connected(portal, greeted=False)) for _ in range(100)]
            for client in clients:
                client.send(b"a CALL count\n")
            datagrams = stack.enter_context(udp(portal))
            for number in range(20):
                datagrams.send(b"t%d CALL count x\n" % number)
            resetting = threading.Thread(target=portal.reset)
            resetting.start()
        resetting.join(PATIENCE)
        assert portal.journal() == []
        for client in clients:
            with pytest.raises(ConnectionResetError):
                client.rest()
        with connected(portal) as client:
            assert client.call(b"a CALL count") == b"a OK 1\n"
    assert len(portal.connections()) == 1


async def test_reset_waits_for_no_datagram_that_comes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(datagram_calls, "CANCELLED", PATIENCE)
    offered = Portal()
    begun, cancelled, may_end, later = trio.Event(), trio.Event(), trio.Event(), trio.Event()

    @offered.service
    async def reluctant() -> None:
        try:
            begun.set()
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(PATIENCE, shield=True):
                cancelled.set()
                await may_end.wait()

    @offered.service
    async def forever() -> None:
        later.set()
        await trio.sleep_forever()

    async with running(offered) as portal:
        peer = portal.udp()
        peer.send(b"a CALL reluctant\n")
        await begun.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(portal.listeners.ports.reset)
            await cancelled.wait()
            peer.send(b"b CALL forever\n")
            await later.wait()
            may_end.set()
        # The one was aborted without an answer, the other runs.
        await peer.assert_silence()
        assert await peer.ask(b"b CALL echo ##\n") == b"* ERR tag-in-use b\n"


def test_reset_sends_nothing_that_was_late_or_held(clock: PortalClock) -> None:
    with serve_in_thread() as portal, udp(portal) as client:
        faults = (
            portal.fault("delay", seconds=600, service="echo"),
            portal.fault("delay", seconds=600, service="count", when="before"),
            portal.fault("reorder", seconds=600, service="discard"),
        )
        for service in (b"echo", b"count", b"discard"):
            client.send(b"a%b CALL %b\n" % (service, service))
        client.send(b"b CALL delay 600000\n")
        portal.wait_for(count=4, timeout=PATIENCE)
        for fault in faults:
            fault.wait_for(timeout=PATIENCE)
        portal.reset()
        clock.jump(600)
        assert_no_datagram(client)
        assert ask(client, b"c CALL count\n") == b"c OK 1\n"
        assert_no_datagram(client)
        assert [call.tag for call in portal.calls()] == ["c"]


def test_reset_of_calls_that_run(portal: PortalController) -> None:
    with connected(portal) as client, udp(portal) as datagrams:
        client.send(b"a CALL stall\n")
        datagrams.send(b"a CALL delay 600000\n")
        portal.wait_for(count=2, timeout=PATIENCE)
        portal.reset()
        assert_no_datagram(datagrams)
        with pytest.raises(ConnectionResetError):
            client.receive()
    assert portal.calls() == []


def test_resets_from_many_threads(portal: PortalController) -> None:
    def reset() -> None:
        for _ in range(20):
            portal.reset()

    threads = [threading.Thread(target=reset) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        with (
            contextlib.suppress(ConnectionResetError),
            socket.create_connection((portal.host, portal.port), PATIENCE) as client,
        ):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"a CALL stall\n")
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    portal.reset()
    assert_served(portal)


class Reluctant:
    """A service that is cancelled, and takes its time to end."""

    def __init__(self) -> None:
        self.portal = Portal(limits=Limits(max_in_flight=2))
        self.portal.service(name="work")(self._work)
        self.begun, self.cancelled, self.may_end = trio.Event(), trio.Event(), trio.Event()

    async def _work(self) -> None:
        try:
            self.begun.set()
            await trio.sleep_forever()
        finally:
            self.cancelled.set()
            with trio.move_on_after(PATIENCE, shield=True):
                await self.may_end.wait()


async def test_datagrams_of_an_outage_leave_nothing_behind() -> None:  # ESPS-UDP-20
    offered = Portal(limits=Limits(max_in_flight=2))
    ended = 0

    @offered.service
    async def work() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended += 1

    async with running(offered, reserve_port=True) as portal:
        ports, peer = portal.listeners.ports, portal.udp()
        for number in (1, 2, 3):
            peer.send(b"%d CALL work\n" % number)
            await peer.assert_silence()
            ports.down()
            while ended < number:
                await trio.lowlevel.checkpoint()
            ports.up()
        # They may have been executed: none is again. And there is room for others.
        assert await peer.ask(b"1 CALL work\n") == b"1 ERR closing\n"
        peer.send(b"4 CALL work\n")
        await peer.assert_silence()


async def test_reset_waits_for_the_calls_of_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram_calls, "CANCELLED", PATIENCE)  # it is long, however slow we are
    reluctant = Reluctant()
    async with running(reluctant.portal, reserve_port=True) as portal:
        ports, peer = portal.listeners.ports, portal.udp()
        peer.send(b"a CALL work\n")
        await reluctant.begun.wait()
        ports.down()
        await reluctant.cancelled.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ports.reset)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            reluctant.may_end.set()
        assert (await peer.ask(b"a PING other\n")) == b"a OK other\n"


@pytest.mark.parametrize(
    ("before", "is_draining"),
    [(None, True), ("silent", True), (None, False), ("silent", False), ("refuse", False)],
)
async def test_a_server_that_ends_takes_no_port_again(
    before: OutageKind | None, is_draining: bool
) -> None:
    """Its control port is open until the process ends, after its listeners are closed."""
    async with running(reserve_port=True, drain=PATIENCE) as portal:
        ports = portal.listeners.ports
        if is_draining:
            client = await portal.tcp()
            await client.send(b"a CALL stall\nb PING\n")
            assert await client.line() == b"b OK"
        if before is not None:
            ports.down(before)
        portal.shut_down()
        await trio.testing.wait_all_tasks_blocked()
        for how in ("refuse", "silent"):
            ports.down(how)
            ports.up()
        await ports.reset()
        with pytest.raises(OSError, match="all attempts to connect"):
            await portal.connect()


async def test_who_waits_until_it_is_down_goes_on_when_the_server_ends() -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as waiting, running(reserve_port=True) as portal:
            portal.listeners.ports.down()
            waiting.start_soon(portal.listeners.ports.until_down)
