"""Each UDP fault, as the client's socket sees it; and what stubs and journal say over UDP."""

from __future__ import annotations

import random
import socket
from typing import Literal

import pytest
import trio

from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.mock.scripted import ScriptedPortal
from esps_portal.services.builtin_portal import builtin_portal
from esps_portal.testing import PortalController, serve_in_thread
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.portals import running
from tests.sockets import (
    ask,
    assert_no_datagram,
    connected,
    udp,
)

PLENTY = 600  # seconds that are never waited for


When = Literal["before", "after"]


def test_each_fault_type_has_a_test() -> None:
    """A new fault type needs a test here or in test_faults_tcp.py that sees what it means."""
    assert {kind for kind, fault_type in FAULT_TYPES.items() if "udp" in fault_type.transports} == {
        "drop",
        "duplicate",
        "reorder",
        "delay",
        "truncate",
        "corrupt",
        "oversize",
        "wrong-source",
        "patch",
    }


@pytest.mark.parametrize(("when", "counted"), [("before", b"1"), ("after", b"2")])
def test_drop(portal: PortalController, when: When, counted: bytes) -> None:
    with udp(portal) as client:
        with portal.fault("drop", when=when):
            client.send(b"a CALL count ####\n")
            assert_no_datagram(client)
        assert ask(client, b"b CALL count ####\n") == b"b OK %b\n" % counted
    assert [call.state for call in portal.calls()] == ["faulted", "replied"]


async def test_a_repeat_is_not_what_is_waited_for() -> None:
    portal = ScriptedPortal(builtin_portal("test/1"))
    met = trio.Event()
    portal.script.journal.add_waiter("count", 2, met.set)
    async with running(portal) as listening:
        peer = listening.udp()
        for _ in range(2):
            assert await peer.ask(b"a CALL count x\n") == b"a OK 1\n"
        assert not met.is_set()
        assert await peer.ask(b"b CALL count x\n") == b"b OK 2\n"
        assert met.is_set()


def test_a_lost_reply_is_replayed(portal: PortalController) -> None:
    """Executed once, asked for twice: the second time it is not a call."""
    portal.fault("drop", times=1)
    with udp(portal) as client:
        client.send(b"a CALL count ####\n")
        assert_no_datagram(client)
        assert ask(client, b"a CALL count ####\n") == b"a OK 1\n"
    assert [call.state for call in portal.calls()] == ["faulted"]
    assert [e.event for e in portal.journal()] == ["received", "faulted", "received", "replayed"]


def test_duplicate(portal: PortalController) -> None:
    portal.fault("duplicate", copies=3, times=1)
    with udp(portal) as client:
        assert ask(client, b"a PING\n") == b"a OK\n"
        assert [client.recv(100) for _ in range(2)] == [b"a OK\n"] * 2
        assert ask(client, b"b PING\n") == b"b OK\n"


def test_reorder_behind_so_many_others(portal: PortalController) -> None:
    portal.fault("reorder", replies=2, seconds=PLENTY, times=1)
    with udp(portal) as client:
        for tag in b"abc":
            client.send(b"%c PING\n" % tag)
        assert [client.recv(100) for _ in range(3)] == [b"b OK\n", b"c OK\n", b"a OK\n"]


def test_reorder_of_all_swaps_each_with_the_next(portal: PortalController) -> None:
    fault = portal.fault("reorder", replies=1, seconds=PLENTY)
    with udp(portal) as client:
        for tag in b"abcd":
            client.send(b"%c CALL echo\n" % tag)
        seen = [client.recv(100) for _ in range(4)]
    assert seen == [b"b OK\n", b"a OK\n", b"d OK\n", b"c OK\n"]
    assert fault.happened == 2
    assert [call.state for call in portal.calls()] == ["faulted", "replied"] * 2


def test_reorder_for_so_long(clock: PortalClock, portal: PortalController) -> None:
    fault = portal.fault("reorder", replies=9, seconds=600, times=1)
    with udp(portal) as client:
        client.send(b"a PING\n")
        fault.wait_for(timeout=PATIENCE)
        clock.jump(599)
        assert_no_datagram(client)
        clock.jump(1)
        assert client.recv(100) == b"a OK\n"


def test_reorder_counts_what_has_left(portal: PortalController) -> None:
    """Silence is not a reply, and what is dropped has not left; a replay has."""
    portal.fault("reorder", replies=1, seconds=PLENTY, service="echo")
    portal.fault("drop", service="discard")
    with udp(portal) as client:
        assert ask(client, b"z CALL count\n") == b"z OK 1\n"
        client.send(b"a CALL echo x\n")
        client.send(b"b CALL discard\n")
        client.send(b"x CALL nobody\n")  # its error fits
        assert client.recv(100).startswith(b"x ERR unknown-service")
        assert client.recv(100) == b"a OK x\n"
        client.send(b"c CALL echo x\n")
        client.send(b"d X\n")  # unknown-verb does not fit three times its four bytes
        assert_no_datagram(client)
        client.send(b"z CALL count\n")
        assert [client.recv(100), client.recv(100)] == [b"z OK 1\n", b"c OK x\n"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_delay(clock: PortalClock, portal: PortalController, when: When) -> None:
    portal.fault("delay", seconds=600, service="echo", when=when)
    with udp(portal) as client:
        client.send(b"a CALL echo x\n")
        assert ask(client, b"b PING\n") == b"b OK\n"
        clock.jump(599)
        assert_no_datagram(client)
        clock.jump(1)
        assert client.recv(100) == b"a OK x\n"


def test_a_request_that_is_late_is_executed_once(
    clock: PortalClock, portal: PortalController
) -> None:
    """Its repeats overtake it: it is then answered as they were."""
    portal.fault("delay", seconds=30, when="before", times=1)
    with udp(portal) as client:
        client.send(b"a CALL count x\n")
        assert ask(client, b"a CALL count x\n") == b"a OK 1\n"
        clock.jump(30)
        assert client.recv(100) == b"a OK 1\n"
        assert ask(client, b"b CALL count x\n") == b"b OK 2\n"
    states = {e.order: e.event for e in portal.journal()}
    assert sorted(states.values()) == ["received"] * 3 + ["replayed"] + ["replied"] * 2


@pytest.mark.parametrize(("size", "seen"), [(0, b""), (1, b"a"), (4, b"a OK"), (99, b"a OK x\n")])
def test_truncate(portal: PortalController, size: int, seen: bytes) -> None:
    fault = portal.fault("truncate", bytes=size).optional()
    with udp(portal) as client:
        assert ask(client, b"a CALL echo x\n") == seen
    assert fault.happened == (size < len(b"a OK x\n"))


def test_corrupt(portal: PortalController) -> None:
    whole = b"a OK " + b"x" * 40 + b"\n"
    seen = []
    with udp(portal) as client:
        for seed in (1, 1, 2):
            with portal.fault("corrupt", bytes=3, seed=seed):
                seen.append(ask(client, b"a CALL echo " + b"x" * 40 + b"\n"))
    assert [sum(a != b for a, b in zip(one, whole, strict=True)) for one in seen] == [3, 3, 3]
    assert seen[0] == seen[1] != seen[2]


def test_oversize(portal: PortalController) -> None:
    """Longer than max-datagram (1200), and than three times its request."""
    portal.fault("oversize", bytes=2000)
    with udp(portal) as client:
        found = ask(client, b"a CALL echo x\n")
        assert len(found) == 2000
        assert found.startswith(b"a OK x xxx")
        assert found.endswith(b"x\n")


def test_the_largest_oversize(portal: PortalController) -> None:
    portal.fault("oversize", bytes=65507)
    with udp(portal) as client:
        assert len(ask(client, b"a PING\n")) == 65507


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_wrong_source(host: str) -> None:
    with serve_in_thread(host=host) as portal:
        portal.fault("wrong-source", service="echo")
        with udp(portal) as client:
            client.send(b"a CALL echo x\n")
            assert_no_datagram(client)  # a connected socket takes none from elsewhere
            assert ask(client, b"b PING\n") == b"b OK\n"
        with udp(portal, joined=False) as client:
            client.sendto(b"a CALL echo x\n", (portal.host, portal.port))
            data, source = client.recvfrom(100)
            assert data == b"a OK x\n"
            assert source[0] == portal.host
            assert source[1] != portal.port


# -- what it befalls


def test_times_and_number(portal: PortalController) -> None:
    with udp(portal) as client:
        ask(client, b"z PING\n")
        portal.fault("duplicate", request=[2, 4], times=1)
        for tag in b"abcd":
            client.send(b"%c PING\n" % tag)
        seen = [client.recv(100)[:1] for _ in range(5)]
        assert seen == [b"a", b"b", b"b", b"c", b"d"]


def test_by_source(portal: PortalController) -> None:
    """Over UDP a client's address is what a connection is over TCP."""
    portal.fault("truncate", connection=2, transport="udp")
    with connected(portal), udp(portal) as first, udp(portal) as second:
        assert ask(first, b"a PING\n") == b"a OK\n"
        assert ask(second, b"a PING\n") == b"a"
        assert ask(first, b"b PING\n") == b"b OK\n"


def test_by_chance(portal: PortalController) -> None:
    portal.fault("truncate", chance=0.5, seed=3)
    chance = random.Random(3)
    with udp(portal) as client:
        for _ in range(30):
            whole = chance.random() >= 0.5
            assert ask(client, b"a PING\n") == (b"a OK\n" if whole else b"a")


def test_on_a_call_that_runs(portal: PortalController) -> None:
    portal.fault("duplicate", service="drip")
    with udp(portal) as client:
        answer = b"a DATA 1\na DATA 2\na OK 2\n"
        assert ask(client, b"a CALL drip 2 1 ####\n") == answer
        assert client.recv(100) == answer


def test_lifting_touches_nothing_that_is_faulted(
    clock: PortalClock, portal: PortalController
) -> None:
    with udp(portal) as client:
        with portal.fault("delay", seconds=600, service="echo") as fault:
            client.send(b"a CALL echo\n")
            fault.wait_for(timeout=PATIENCE)
        assert ask(client, b"b CALL echo\n") == b"b OK\n"
        clock.jump(600)
        assert client.recv(100) == b"a OK\n"


def test_a_fault_of_tcp_is_none_of_udp(portal: PortalController) -> None:
    fault = portal.fault("reset").optional()
    with udp(portal) as client:
        assert ask(client, b"a PING\n") == b"a OK\n"
    assert fault.happened == 0


# -- stubs, on either transport alike


def test_one_stub_two_transports(portal: PortalController) -> None:
    portal.stub("price", "sku-1").fail("busy").times(2).reply("9.99")
    with connected(portal) as tcp, udp(portal) as client:
        assert tcp.call(b"a CALL price sku-1") == b"a ERR busy\n"
        assert ask(client, b"b CALL price sku-1\n") == b"b ERR busy\n"
        assert ask(client, b"c CALL price sku-1\n") == b"c OK 9.99\n"
        assert tcp.call(b"d CALL price sku-1") == b"d OK 9.99\n"
    assert [call.transport for call in portal.calls("price")] == ["tcp", "udp", "udp", "tcp"]
    assert [call.code for call in portal.calls("price")] == ["busy", "busy", "", ""]
    portal.verify()


def test_a_stub_is_used_once_for_a_request_that_comes_twice(portal: PortalController) -> None:
    stub = portal.stub("next").reply("1").reply("2")
    with udp(portal) as client:
        for _ in range(3):
            assert ask(client, b"a CALL next\n") == b"a OK 1\n"
        assert stub.used == 1
        assert ask(client, b"b CALL next\n") == b"b OK 2\n"
    assert [call.tag for call in portal.calls()] == ["a", "b"]
    assert portal.transcript().count("the same request again") == 2
    portal.verify()


def test_a_stub_that_takes_its_time(portal: PortalController) -> None:
    portal.stub("feed").data("1").delay(0.02).data("2").reply("end").then_close()
    with connected(portal) as tcp, udp(portal) as client:
        whole = b"a DATA 1\na DATA 2\na OK end\n"
        assert ask(client, b"a CALL feed ######\n") == whole
        tcp.send(b"a CALL feed\n")
        assert tcp.rest() == whole


def test_unmatched_and_unknown(portal: PortalController) -> None:
    portal.stub("price", "sku-1")
    padding = b"#" * 60
    with connected(portal) as tcp, udp(portal) as client:
        answers = [
            tcp.call(b"a CALL price sku-2"),
            ask(client, b"a CALL price sku-2 " + padding + b"\n"),
        ]
        assert answers[0] == answers[1]
        assert answers[0].startswith(b"a ERR unmatched nearest%20stub:%20price%20'sku-1':")
        assert tcp.call(b"b CALL prise").startswith(b"b ERR unknown-service")
    first, second, third, fourth = portal.problems()
    assert "price 'sku-2'" in first
    assert "prise" in third
    assert "did you mean price?" in third
    assert second == first
    assert fourth == "unused stub: price 'sku-1': never used"


def test_a_predicate_that_raises_is_a_mismatch(portal: PortalController) -> None:
    """Nothing that a test hands in can take the portal down."""
    portal.stub("price", lambda arg: int(arg) > 3).reply("9.99")
    with connected(portal) as client:
        assert client.call(b"a CALL price x").startswith(b"a ERR unmatched ")
        assert client.call(b"b CALL price 4") == b"b OK 9.99\n"
    assert "ValueError" in portal.problems()[0]


def test_a_datagram_that_is_no_request_is_in_the_journal(portal: PortalController) -> None:
    with udp(portal) as client:
        client.send(b"\xff\xff\n")
        client.send(b"abcdefgh NOSUCH\n")
        assert client.recv(100).startswith(b"abcdefgh ERR unknown-verb")
    first, second = (e for e in portal.journal() if e.event != "received")
    assert (first.event, second.event) == ("aborted", "replied")


def test_udp_alone() -> None:
    with serve_in_thread(tcp=False) as portal, udp(portal) as client:
        assert ask(client, b"a PING\n") == b"a OK\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((portal.host, portal.port), PATIENCE)
