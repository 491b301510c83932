"""Which addresses are bound for the hosts that were named, and what is said where that fails."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from esps_portal.net.bind import CannotBindError, Sockets, bind, is_own_address

RECEIVE_MAXIMUM = Path("/proc/sys/net/core/rmem_max")


@contextlib.contextmanager
def listening(*hosts: str) -> Iterator[list[str]]:
    """Bind free ports of hosts; yield the addresses."""
    sockets = bind(hosts, 0)
    try:
        yield [sock.getsockname()[0] for sock in sockets.tcp]
    finally:
        sockets.close()


@pytest.mark.parametrize(
    ("hosts", "bound"),
    [
        (["127.0.0.1", "127.0.0.1"], ["127.0.0.1"]),
        (["127.0.0.1", "127.1"], ["127.0.0.1"]),
        (["127.0.0.1", "::1"], ["127.0.0.1", "::1"]),
        (["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "127.0.0.2"]),
        (["::", "0.0.0.0"], ["::", "0.0.0.0"]),
        (["::1", "0.0.0.0"], ["::1", "0.0.0.0"]),
    ],
)
def test_each_address_is_bound_once(hosts: list[str], bound: list[str]) -> None:
    with listening(*hosts) as addresses:
        assert addresses == bound


@pytest.mark.parametrize(
    ("hosts", "covered", "by"),
    [
        (["127.0.0.1", "0.0.0.0"], "127.0.0.1", "0.0.0.0"),
        (["0.0.0.0", "127.0.0.1"], "127.0.0.1", "0.0.0.0"),
        (["::1", "0.0.0.0", "::"], "::1", "::"),
    ],
)
def test_an_address_that_a_wildcard_covers(hosts: list[str], covered: str, by: str) -> None:
    with pytest.raises(CannotBindError, match="takes what comes for it already") as raised:
        bind(hosts, 0)
    assert (raised.value.host, raised.value.covered_by) == (covered, by)


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(*_: object, **__: object) -> list[object]:
        families = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(families[":" in a], socket.SOCK_STREAM, 6, "", (a, 0)) for a in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_of_a_name_the_addresses_of_this_machine_are_bound(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "esps_portal")
    # RFC 5737: an address for documentation alone; a machine without IPv6 has no ::1 either.
    resolving_to(monkeypatch, "192.0.2.77", "127.0.0.1", "127.0.0.2")
    with listening("name.test") as addresses:
        assert addresses == ["127.0.0.1", "127.0.0.2"]
    (message,) = caplog.messages
    assert message == "name.test is also 192.0.2.77, which this machine does not have"


def test_a_name_without_any_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "192.0.2.77", "192.0.2.78")
    with pytest.raises(CannotBindError) as raised:
        bind(["name.test"], 0)
    assert (raised.value.host, raised.value.errno) == ("192.0.2.77", errno.EADDRNOTAVAIL)


@pytest.mark.parametrize(
    ("address", "own"), [("127.0.0.1", True), ("::", True), ("192.0.2.77", False)]
)
def test_own_addresses(address: str, own: bool) -> None:
    assert is_own_address(address) == own


def test_whether_ipv6_takes_ipv4_too() -> None:
    sockets = bind(["::"], 0)
    assert not sockets.take_ipv4_on_ipv6
    sockets.close()
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as both:
        assert Sockets(tcp=[both]).take_ipv4_on_ipv6
    with socket.create_server(("127.0.0.1", 0)) as ipv4:
        assert not Sockets(tcp=[ipv4]).take_ipv4_on_ipv6


@pytest.mark.skipif(not RECEIVE_MAXIMUM.exists(), reason="only Linux tells how large it may be")
def test_the_kernel_keeps_as_many_datagrams_as_it_may() -> None:
    sockets = bind(["127.0.0.1"], 0)
    size = sockets.udp[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sockets.close()
    # Linux doubles what is asked for: socket(7).
    assert size == 2 * min(1 << 22, int(RECEIVE_MAXIMUM.read_text(encoding="ascii")))
