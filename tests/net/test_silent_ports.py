"""Ports that are silent, as if the network were cut: as plain sockets see them."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import pytest
import trio

from esps_portal import Portal
from esps_portal.testing import Outage, PortalController, open_portal, serve_in_thread
from tests.net.served import assert_refused, assert_served, assert_taken, standing_still
from tests.patience import PATIENCE
from tests.portals import running
from tests.sockets import (
    Client,
    ask,
    assert_no_datagram,
    connected,
    udp,
    until,
)

# Seconds. A connect over loopback takes microseconds; one that is dropped is tried again after 1 s.
_SOON = 0.05
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@pytest.fixture(name="portal", params=["127.0.0.1", "::1", "0.0.0.0", "::"])
def _portal(request: pytest.FixtureRequest) -> Iterator[PortalController]:
    with serve_in_thread(host=request.param) as portal:
        yield portal


@pytest.fixture(name="one")
def _one() -> Iterator[PortalController]:
    with serve_in_thread() as portal:
        yield portal


def address_of(portal: PortalController) -> tuple[str, int]:
    return _LOOPBACK.get(portal.host, portal.host), portal.port


def assert_times_out(portal: PortalController) -> None:
    with pytest.raises(TimeoutError, match="timed out"):
        socket.create_connection(address_of(portal), _SOON)


def assert_silent(portal: PortalController) -> None:
    assert_times_out(portal)
    assert_times_out(portal)
    with udp(portal) as client:
        client.send(b"a PING\n")
        assert_no_datagram(client)


def serve_late(portal: PortalController) -> Callable[[], None]:
    """Have ``slow`` served, whose calls end with "late" once what is returned was called."""
    is_over = threading.Event()

    @portal.service
    async def slow() -> str:
        while not is_over.is_set():  # noqa: ASYNC110 - another thread sets it
            await trio.sleep(0.001)
        return "late"

    return is_over.set


@contextlib.contextmanager
def connecting(portal: PortalController) -> Iterator[socket.socket]:
    """A socket that has begun to connect."""
    host, port = address_of(portal)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(0)
        assert sock.connect_ex((host, port)) == errno.EINPROGRESS
        yield sock


# -- connects


def test_silent_and_up_again_and_again(portal: PortalController) -> None:
    for _ in range(3):
        with portal.down(how="silent"):
            assert_silent(portal)
            assert_taken(portal)
        assert_served(portal)
        assert_taken(portal)
    assert len(portal.connections()) == 3, "neither ours nor one that timed out"


def test_a_client_that_waits_gets_in(portal: PortalController) -> None:
    with portal.down(how="silent") as outage, connecting(portal) as sock:
        assert not select.select([], [sock], [], _SOON)[1]
        outage.up()
        # RFC 6298 section 2: the first SYN is sent again after 1 s.
        assert select.select([], [sock], [], PATIENCE)[1]
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        sock.settimeout(PATIENCE)
        client = Client(sock)
        assert client.line().startswith(b"* ESPS/1 ")
        assert client.call(b"a PING") == b"a OK\n"


def test_what_waits_to_be_accepted_is_served_afterwards(portal: PortalController) -> None:
    outages: list[Outage] = []

    def fall_silent() -> None:
        outages.append(portal.down(how="silent"))

    with contextlib.ExitStack() as stack:
        with standing_still(portal, then=fall_silent):
            clients = [stack.enter_context(connected(portal, greeted=False)) for _ in range(100)]
        until(lambda: outages, portal)
        for client in clients:
            client.send(b"a PING\n")
        clients[-1].assert_silence()
        assert_times_out(portal)
        outages[0].up()
        for client in clients:
            assert client.line().startswith(b"* ESPS/1 ")
            assert client.line() == b"a OK\n"


@pytest.mark.parametrize("then", ["up", "refuse"])
def test_clients_that_come_as_it_begins(one: PortalController, then: str) -> None:
    """Whoever is faster than we are is served in the end, or is reset: none is left hanging."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def come() -> None:
        while not ended.is_set():
            try:
                with socket.create_connection((one.host, one.port), _SOON) as sock:
                    sock.settimeout(PATIENCE)
                    Client(sock).call(b"a PING")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
                pass
            except TimeoutError as error:
                if "timed out" not in str(error):
                    errors.append(error)

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(20):
            with one.down(how="silent"):
                assert_times_out(one)
                if then == "refuse":
                    with one.down():
                        pass
    finally:
        ended.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert errors == []
    assert_served(one)


# -- what is open


def test_open_connections_stand_still_and_go_on(portal: PortalController) -> None:
    end = serve_late(portal)
    with connected(portal) as client:
        client.send(b"a CALL slow\n")
        portal.wait_for("slow", timeout=PATIENCE)
        with portal.down(how="silent"):
            end()
            for number in range(1000):
                client.send(b"%d PING\n" % number)
            client.send(b"z CALL count\n")
            assert not select.select([client.socket], [], [], 3 * _SOON)[0]
            assert portal.calls("count") == []
        lines = client.lines(1002)
        assert lines.pop(lines.index(b"a OK late\n"))
        assert lines == [*(b"%d OK\n" % number for number in range(1000)), b"z OK 1\n"]


def test_what_is_half_sent_goes_on(one: PortalController) -> None:
    """Megabytes that a client does not read, then a silence: nothing is lost, nothing doubled."""
    with connected(one) as client:
        client.send(b"a CALL chargen 10000 500\n")
        one.wait_for("chargen", timeout=PATIENCE)
        for _ in range(3):
            assert client.line().startswith(b"a DATA ")
            with one.down(how="silent"):
                pass
        found = client.lines(9998)
        assert found.pop() == b"a OK\n"
    with connected(one) as client:
        client.send(b"a CALL chargen 10000 500\n")
        assert client.lines(10000)[3:] == found


def test_fin_of_the_client_is_read_afterwards(portal: PortalController) -> None:
    with connected(portal) as client:
        with portal.down(how="silent"):
            client.send(b"a PING\n")
            client.socket.shutdown(socket.SHUT_WR)
            client.assert_silence()
            assert portal.connections()[0].closed is None
        assert client.rest() == b"a OK\n"


@pytest.mark.parametrize("kind", ["close", "reset", "half-close"])
def test_an_end_in_a_silence_is_seen_afterwards(
    one: PortalController, kind: Literal["close", "reset", "half-close"]
) -> None:
    end = serve_late(one)
    fault = one.fault(kind)
    with connected(one) as client:
        client.send(b"a CALL slow\n")
        one.wait_for("slow", timeout=PATIENCE)
        with one.down(how="silent"):
            end()
            fault.wait_for(timeout=PATIENCE)
            client.assert_silence()
        if kind == "reset":
            with pytest.raises(ConnectionResetError):
                client.rest()
        else:
            assert client.rest() == b""


# -- datagrams


def test_datagrams_vanish(portal: PortalController) -> None:
    end = serve_late(portal)
    with udp(portal) as client:
        client.send(b"a CALL slow\n")
        portal.wait_for("slow", timeout=PATIENCE)
        with portal.down(how="silent"):
            client.send(b"b CALL count x\n")
            end()
            until(lambda: portal.calls("slow")[0].state == "replied", portal)
            assert_no_datagram(client)
        assert_no_datagram(client)
        assert portal.calls("count") == []
        assert ask(client, b"b CALL count x\n") == b"b OK 1\n"
        # It was executed; only its reply was lost.
        assert ask(client, b"a CALL slow\n") == b"a OK late\n"
        assert len(portal.calls("slow")) == 1


def test_a_datagram_that_nobody_has_read_when_it_ends_vanishes(one: PortalController) -> None:
    outages: list[Outage] = []
    with udp(one) as client:

        @one.service
        async def end() -> None:
            while not outages:  # noqa: ASYNC110 - another thread begins it
                await trio.sleep(0.001)
            client.send(b"a CALL count x\n")  # the loop runs us: it cannot read this yet
            outages[0].up()

        client.send(b"end CALL end\n")
        one.wait_for("end", timeout=PATIENCE)
        outages.append(one.down(how="silent"))
        assert client.recv(100) == b"end OK\n"
        assert_no_datagram(client)
    assert one.calls("count") == []


def test_a_late_datagram_from_another_port_vanishes(one: PortalController) -> None:
    fault = one.fault("wrong-source", service="slow")
    end = serve_late(one)
    with udp(one, joined=False) as client:
        client.bind(("127.0.0.1", 0))
        client.sendto(b"a CALL slow\n", (one.host, one.port))
        one.wait_for("slow", timeout=PATIENCE)
        with one.down(how="silent"):
            end()
            fault.wait_for(timeout=PATIENCE)
            assert_no_datagram(client)


# -- how it ends


def test_a_reset_ends_it(portal: PortalController) -> None:
    with connected(portal) as client:
        portal.down(how="silent")
        client.send(b"a CALL count\n")
        portal.reset()
        with pytest.raises(ConnectionResetError):
            client.receive()
        assert portal.calls() == []
    assert_served(portal)
    assert_taken(portal)


def test_left_while_silent(portal: PortalController) -> None:
    host, port = address_of(portal)
    with serve_in_thread(host=host) as other, connected(other) as client:
        other.down(how="silent")
        client.send(b"a PING\n")
        port = other.port
        other.stop()
        with contextlib.suppress(ConnectionResetError):
            assert client.rest() in (b"", b"* BYE closing\n")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as free:
            if kind == socket.SOCK_STREAM:
                free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind((host, port))


def test_silent_then_refusing_then_silent(portal: PortalController) -> None:
    with connected(portal) as client, portal.down(how="silent"):
        assert_silent(portal)
        client.send(b"a PING\n")
        with portal.down():
            with pytest.raises(ConnectionResetError):
                client.receive()
            assert_refused(portal)
            assert_taken(portal)
        assert_silent(portal)
        assert_taken(portal)
    assert_served(portal)


def test_one_transport_alone() -> None:
    with serve_in_thread(udp=False) as portal:
        with portal.down(how="silent"):
            assert_times_out(portal)
        with connected(portal) as client:
            assert client.call(b"a PING") == b"a OK\n"
    with serve_in_thread(tcp=False) as portal, udp(portal) as client_udp:
        with portal.down(how="silent"):
            client_udp.send(b"a PING\n")
            assert_no_datagram(client_udp)
        assert ask(client_udp, b"b PING\n") == b"b OK\n"


async def test_inside_trio_before_anything_has_run() -> None:
    async with open_portal() as portal:
        for _ in range(3):
            with portal.down(how="silent"):
                assert_silent(portal)
        client = await trio.open_tcp_stream(portal.host, portal.port)
        assert (await client.receive_some()).startswith(b"* ESPS/1 ")
        await client.aclose()


async def test_a_graceful_shutdown_ends_it() -> None:
    async with running(Portal(), reserve_port=True) as portal:
        peer = await portal.tcp()
        portal.listeners.ports.down("silent")
        portal.shut_down()
        assert await peer.line() == b"* BYE closing"
        assert await peer.line() == b""
