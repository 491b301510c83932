"""Each fault of a datagram: what the plain sockets of client and server see."""

from __future__ import annotations

import random
import select
import socket
from typing import Any

import attrs
import pytest

from esps_portal.faults.changed_bytes import corrupt
from esps_portal.faults.target import MissReason
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.threaded_proxies import ThreadedProxy

UNIT = b"\x12\x34 a datagram"
Address = tuple[str, int]


@attrs.frozen
class Ends:
    """A client and the server, and which of them a fault names."""

    proxy: ThreadedProxy
    client: socket.socket
    to: str

    @property
    def named(self) -> socket.socket:
        return self.client if self.to == "client" else self.proxy.datagrams

    def send(self, datagram: bytes) -> Address:
        """Send towards the named side what a fault may strike; return the client's address."""
        if self.to == "server":
            self.client.send(datagram)
            return "", 0
        source = asked(self.proxy, self.client, b"?" + datagram)
        self.proxy.datagrams.sendto(datagram, source)
        return source

    def nothing_comes(self) -> None:
        self.proxy.quiet()
        assert not select.select([self.named], [], [], 0)[0]

    def come(self, count: int) -> list[bytes]:
        """Return so many datagrams that come at the named side, and check that no more do."""
        found = [self.named.recvfrom(65536)[0] for _ in range(count)]
        self.nothing_comes()
        return found


def asked(proxy: ThreadedProxy, client: socket.socket, datagram: bytes) -> Address:
    """Have a client send; return where the proxy sent it from."""
    client.send(datagram)
    came, (host, port) = proxy.datagrams.recvfrom(65536)
    assert came == datagram
    return host, port


@pytest.fixture(params=["client", "server"])
def ends(request: pytest.FixtureRequest, proxy: ThreadedProxy) -> Ends:
    return Ends(proxy, proxy.client_of_datagrams(), request.param)


@pytest.mark.parametrize(
    ("kind", "options", "seen"),
    [
        ("duplicate", {"copies": 3}, [UNIT] * 3),
        ("truncate", {"bytes": 5}, [UNIT[:5]]),
        ("truncate", {"bytes": 0}, [b""]),
        ("corrupt", {"bytes": 3, "seed": 7}, [corrupt(UNIT, 3, 7)]),
        ("patch", {"at": 0, "hex": "56ff"}, [b"\x56\xff" + UNIT[2:]]),
        ("patch", {"at": 2, "hex": "21"}, [UNIT[:2] + b"!" + UNIT[3:]]),
        ("oversize", {"bytes": 20}, [UNIT + bytes(20 - len(UNIT))]),
        ("oversize", {"bytes": 65507}, [UNIT + bytes(65507 - len(UNIT))]),
    ],
)
def test_what_comes_in_place_of_a_datagram(
    ends: Ends, kind: str, options: dict[str, Any], seen: list[bytes]
) -> None:
    fault = ends.proxy.fault(kind, to=ends.to, times=1, transport="udp", **options)
    ends.send(UNIT)
    assert ends.come(len(seen)) == seen
    assert fault.happened == 1
    # The next one passes as it is.
    ends.send(UNIT)
    assert ends.come(1) == [UNIT]


def test_corrupt_at_a_place(ends: Ends) -> None:
    ends.proxy.fault("corrupt", to=ends.to, at=4, bytes=2, seed=1, transport="udp")
    ends.send(UNIT)
    (seen,) = ends.come(1)
    assert (seen[:4], seen[6:]) == (UNIT[:4], UNIT[6:])
    assert seen[4] != UNIT[4]
    assert seen[5] != UNIT[5]


def test_drop(ends: Ends) -> None:
    fault = ends.proxy.fault("drop", to=ends.to, times=1)
    ends.send(UNIT)
    ends.nothing_comes()
    ends.send(b"again")
    assert ends.come(1) == [b"again"]
    assert fault.happened == 1


def test_delay(clock: PortalClock, ends: Ends) -> None:
    ends.proxy.fault("delay", to=ends.to, seconds=2, times=1)
    ends.send(UNIT)
    ends.nothing_comes()
    ends.send(b"not late")
    assert ends.come(1) == [b"not late"]
    clock.jump(1)
    ends.nothing_comes()
    clock.jump(1)
    assert ends.come(1) == [UNIT]


def test_reorder(ends: Ends) -> None:
    ends.proxy.fault("reorder", to=ends.to, replies=2, seconds=30, times=1)
    for datagram in (b"1", b"2", b"3", b"4"):
        source = ends.send(datagram)
        if datagram == b"1":
            ends.nothing_comes()
    del source
    assert ends.come(4) == [b"2", b"3", b"1", b"4"]


def test_reorder_of_all_swaps_each_with_the_next(ends: Ends) -> None:
    fault = ends.proxy.fault("reorder", to=ends.to, seconds=30)
    source = [ends.send(b"%d" % number) for number in range(4)]
    assert ends.come(4) == [b"1", b"0", b"3", b"2"]
    del source
    assert fault.happened == 2


def test_reorder_ends_with_its_time(clock: PortalClock, ends: Ends) -> None:
    ends.proxy.fault("reorder", to=ends.to, replies=2, seconds=2)
    ends.send(UNIT)
    ends.nothing_comes()
    clock.jump(1)
    ends.nothing_comes()
    clock.jump(1)
    assert ends.come(1) == [UNIT]


def test_wrong_source_to_a_client(proxy: ThreadedProxy) -> None:
    proxy.fault("wrong-source", times=1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", 0))
        client.settimeout(PATIENCE)
        for is_right in (False, True):
            client.sendto(b"?", proxy.listeners.udp[0])
            _, source = proxy.datagrams.recvfrom(100)
            proxy.datagrams.sendto(UNIT, source)
            datagram, came_from = client.recvfrom(100)
            assert datagram == UNIT
            assert (came_from == proxy.listeners.udp[0]) is is_right


def test_a_connected_client_never_sees_what_comes_from_elsewhere(proxy: ThreadedProxy) -> None:
    fault = proxy.fault("wrong-source", times=1)
    ends = Ends(proxy, proxy.client_of_datagrams(), "client")
    ends.send(UNIT)
    ends.nothing_comes()
    assert fault.happened == 1
    ends.send(b"again")
    assert ends.come(1) == [b"again"]


def test_wrong_source_to_a_server(proxy: ThreadedProxy) -> None:
    proxy.fault("wrong-source", to="server", times=1)
    client = proxy.client_of_datagrams()
    client.send(UNIT)
    came, wrong = proxy.datagrams.recvfrom(100)
    assert came == UNIT
    assert asked(proxy, client, b"again") != wrong


@pytest.mark.parametrize(("kind", "options"), [("drop", {}), ("delay", {"seconds": 0.1})])
def test_before_the_request_reaches_the_server(
    proxy: ThreadedProxy, kind: str, options: dict[str, Any]
) -> None:
    fault = proxy.fault(kind, when="before", times=1, **options)
    client = proxy.client_of_datagrams()
    client.send(b"one")
    proxy.quiet()
    assert not select.select([proxy.datagrams], [], [], 0)[0]
    source = asked(proxy, client, b"two")
    proxy.datagrams.sendto(b"reply", source)
    assert client.recv(100) == b"reply"
    assert fault.happened == 1
    if kind == "delay":
        assert proxy.datagrams.recv(100) == b"one"


def test_what_is_dropped_takes_no_turn_of_another_fault(proxy: ThreadedProxy) -> None:
    proxy.fault("drop", when="before", times=1)
    patch = proxy.fault("patch", to="server", at=0, hex="00", times=1)
    client = proxy.client_of_datagrams()
    client.send(b"one")
    client.send(b"two")
    assert proxy.datagrams.recv(100) == b"\0wo"
    assert patch.happened == 1


def test_each_reply_is_told_apart_by_its_own_bytes(proxy: ThreadedProxy) -> None:
    """A resolver asks for A and AAAA together, and any order of replies is right."""
    fault = proxy.fault("drop", reply_match=b"AAAA")
    second = proxy.fault("patch", at=0, hex="00", reply_match=b"A rec", reply=2)
    client = proxy.client_of_datagrams()
    for _ in range(2):
        asked(proxy, client, b"A?")
        source = asked(proxy, client, b"AAAA?")
        proxy.datagrams.sendto(b"an AAAA record", source)
        proxy.datagrams.sendto(b"an A record", source)
    assert [client.recv(100), client.recv(100)] == [b"an A record", b"\0n A record"]
    assert (fault.happened, second.happened) == (2, 1)


def test_request_and_reply_count_across_clients(proxy: ThreadedProxy) -> None:
    """A request without a reply counts too."""
    third_request = proxy.fault("patch", at=0, hex="00", request=3)
    second_reply = proxy.fault("patch", at=1, hex="ff", reply=2)
    one, other = proxy.client_of_datagrams(), proxy.client_of_datagrams()
    seen = []
    for client, is_answered in ((one, True), (other, False), (other, True), (one, True)):
        source = asked(proxy, client, b"?")
        if is_answered:
            proxy.datagrams.sendto(b"...", source)
            seen.append(client.recv(100))
    assert seen == [b"...", b"\0\xff.", b"..."]
    assert (third_request.happened, second_reply.happened) == (1, 1)


def test_connection_is_a_client_over_udp(proxy: ThreadedProxy) -> None:
    proxy.fault("patch", at=0, hex="00", connection=2)
    seen = []
    for client in (proxy.client_of_datagrams(), proxy.client_of_datagrams()):
        proxy.datagrams.sendto(b"...", asked(proxy, client, b"?"))
        seen.append(client.recv(100))
    assert seen == [b"...", b"\0.."]


def test_match_is_about_the_request(proxy: ThreadedProxy) -> None:
    fault = proxy.fault("drop", match=b"two")
    client = proxy.client_of_datagrams()
    for request in (b"one", b"two", b"one"):
        proxy.datagrams.sendto(request + b"!", asked(proxy, client, request))
    assert [client.recv(100), client.recv(100)] == [b"one!", b"one!"]
    assert fault.happened == 1


def test_faults_compose_in_the_order_of_placing(proxy: ThreadedProxy) -> None:
    proxy.fault("truncate", bytes=4, transport="udp")
    proxy.fault("duplicate", copies=2)
    proxy.fault("patch", at=5, hex="00", transport="udp")
    ends = Ends(proxy, proxy.client_of_datagrams(), "client")
    ends.send(UNIT)
    assert ends.come(2) == [UNIT[:4], UNIT[:4]]
    *_, patch = proxy.state.faults.in_force
    assert patch.happened == 0
    assert patch.nearest is not None
    assert patch.nearest.reason is MissReason.NO_CHANGE


def test_many_datagrams_pass_as_they_are(proxy: ThreadedProxy) -> None:
    proxy.fault("drop", match=b"nobody says this")
    client = proxy.client_of_datagrams()
    numbers = random.Random(3)
    for _ in range(200):
        datagram = numbers.randbytes(numbers.randint(0, 1400))
        proxy.datagrams.sendto(datagram[::-1], asked(proxy, client, datagram))
        assert client.recv(65536) == datagram[::-1]


def test_a_server_that_is_not_there_is_noted_and_heals(proxy: ThreadedProxy) -> None:
    address = proxy.datagrams.getsockname()
    proxy.datagrams.close()
    client = proxy.client_of_datagrams()
    client.send(b"?")
    proxy.until(lambda: bool(proxy.state.unreachable))
    (exchange,) = proxy.run(lambda: list(proxy.state.journal.exchanges))
    assert (exchange.request, exchange.state) == (b"?", "aborted")
    assert "refused" in str(proxy.state.unreachable)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(PATIENCE)
        client.send(b"again")
        came, source = server.recvfrom(100)
        server.sendto(came + b"!", source)
        assert client.recv(100) == b"again!"
