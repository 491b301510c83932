"""Which datagrams a portal leaves unanswered so that no exchange goes on without end."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from esps_portal import Limits, ServerConfig, serve
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.net.bind import Sockets
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import DatagramPeer

DAYTIME = b"Thu Nov 26 15:20:01 2026\n"
LOOPBACK = "127.0.0.1"


@contextlib.asynccontextmanager
async def listening(
    *, hosts: tuple[str, ...] = (LOOPBACK,), sockets: Sockets | None = None
) -> AsyncIterator[tuple[ScriptedPortal, int]]:
    portal = ScriptedPortal(builtin_portal("test/1", Limits()))
    config = ServerConfig(portal=portal, hosts=hosts, port=0, tcp=False, sockets=sockets)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(serve, config)
            yield portal, listeners.udp[0][1]
            nursery.cancel_scope.cancel()


@contextlib.contextmanager
def peer_at(port: int, to: tuple[str, int]) -> Iterator[DatagramPeer]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind((LOOPBACK, port))
        sock.settimeout(0)
        sock.connect(to)
        yield DatagramPeer(sock)


def states(portal: ScriptedPortal) -> list[str]:
    return [call.state for call in portal.script.journal.calls]


def low_port() -> int:
    """Return a free port below 1024, or skip the test: it takes root to bind one."""
    for port in range(1000, 900, -1):
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.bind((LOOPBACK, port))
            return port
    pytest.skip("this user cannot bind a port below 1024")


async def test_a_low_port_gets_answers_and_no_errors() -> None:
    # ESPS-UDP-44, ESPS-UDP-47
    async with listening() as (portal, port):
        with peer_at(low_port(), (LOOPBACK, port)) as peer:
            for datagram in (DAYTIME, b"a CALL nosuch #########\n", b"a HELLO ESPS/9 ########\n"):
                peer.send(datagram)
            await peer.assert_silence()
            assert await peer.ask(b"a CALL fail busy ####\n") == b"a ERR busy\n"
            assert (await peer.ask(b"a LIST ##########\n")).startswith(b"a ERR too-large ")
            assert await peer.ask(b"a CALL random x ######\n") == b"a ERR bad-arguments\n"
        assert states(portal)[:4] == ["ignored", "ignored", "ignored", "replied"]
        assert "nosuch" not in [
            call.service for call in portal.script.journal.calls if call.is_call
        ]


async def test_a_loop_with_another_server_slows_down() -> None:
    # ESPS-UDP-45, ESPS-UDP-47
    async with listening() as (portal, port):
        with peer_at(0, (LOOPBACK, port)) as peer:
            began, errors = time.monotonic(), 0
            for number in range(400):
                peer.send(DAYTIME)
                answer = await peer.ask(b"%d PING\n" % number)
                if answer.startswith(b"Thu ERR"):
                    errors += 1
                    assert await peer.receive() == b"%d OK\n" % number
            seconds = time.monotonic() - began
        assert 200 <= errors <= 200 + 100 * seconds + 1
        assert states(portal).count("ignored") == 400 - errors


@pytest.mark.parametrize("destination", ["127.255.255.255", "224.0.0.251"])
async def test_what_goes_to_many_gets_no_answer(destination: str) -> None:
    # ESPS-UDP-46, ESPS-UDP-47
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        joined = socket.inet_aton("224.0.0.251") + socket.inet_aton(LOOPBACK)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)
        sock.settimeout(0)
        sockets = Sockets(udp=[sock])
        async with listening(sockets=sockets) as (portal, port):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
                interface = socket.inet_aton(LOOPBACK)
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
                sender.bind((LOOPBACK, 0))
                sender.settimeout(0)
                for datagram in (b"a PING\n", b"b CALL count\n", b"nonsense\n"):
                    sender.sendto(datagram, (destination, port))
                sender.connect((LOOPBACK, port))
                assert await DatagramPeer(sender).ask(b"c PING\n") == b"c OK\n"
            assert states(portal) == ["ignored"] * 3 + ["replied"]
            assert not [call for call in portal.script.journal.calls if call.is_call]


async def test_a_socket_for_broadcasts_alone_answers_nothing() -> None:
    # ESPS-UDP-46
    async with listening(hosts=("127.255.255.255",)) as (portal, port):
        with peer_at(0, ("127.255.255.255", port)) as peer:
            peer.send(b"a PING\n")
            while not portal.script.journal.calls:
                await trio.lowlevel.checkpoint()
            with pytest.raises(BlockingIOError):
                peer.socket.recv(100)
        assert states(portal) == ["ignored"]
