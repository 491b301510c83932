"""Which request or connection a fault befalls, over TCP; and what it does to a stub."""

from __future__ import annotations

import socket
from typing import Any, Literal

import pytest

from esps_portal.testing import PortalController
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import ask, connected, udp


def test_before_it_is_not_executed_and_uses_no_stub(portal: PortalController) -> None:
    stub = portal.stub("price").reply("9.99").times(1)
    with portal.fault("reset", when="before"):
        for request in (b"a CALL count\n", b"a CALL price\n"):
            with connected(portal) as client:
                client.send(request)
                client.assert_reset()
    assert stub.used == 0
    with connected(portal) as client:
        assert client.call(b"a CALL count") == b"a OK 1\n"
        assert client.call(b"b CALL price") == b"b OK 9.99\n"
    assert [call.state for call in portal.calls()] == ["faulted"] * 2 + ["replied"] * 2
    assert portal.calls()[0].sent == b""


def test_after_it_is_executed(portal: PortalController) -> None:
    stub = portal.stub("price").reply("9.99").times(1)
    with portal.fault("close"):
        for request in (b"a CALL count\n", b"a CALL price\n"):
            with connected(portal) as client:
                client.send(request)
                assert client.rest() == b""
    assert stub.used == 1
    with connected(portal) as client:
        assert client.call(b"a CALL count") == b"a OK 2\n"
    first = portal.calls("count")[0]
    assert (first.state, first.sent, first.fault) == ("faulted", b"a OK 1\n", "close")


def test_times(portal: PortalController) -> None:
    fault = portal.fault("close", times=2)
    seen = []
    for _ in range(4):
        with connected(portal) as client:
            client.send(b"a PING\n")
            seen.append(client.line())
    assert seen == [b"", b"", b"a OK\n", b"a OK\n"]
    assert fault.happened == 2


def test_by_number_of_request(portal: PortalController) -> None:
    with connected(portal) as client:
        client.call(b"z CALL echo")
        portal.fault("no-terminator", service="echo", request=[1, 3])
        client.send(b"a CALL echo\nb PING\nc CALL echo\nd CALL echo\ne PING\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b"a OKb OK\nc OK\nd OKe OK\n"


def test_by_number_of_connection(portal: PortalController) -> None:
    portal.fault("close", connection=2)
    with connected(portal) as first, connected(portal) as second, connected(portal) as third:
        second.send(b"a PING\n")
        assert second.rest() == b""
        assert first.call(b"a PING") == b"a OK\n"
        assert third.call(b"a PING") == b"a OK\n"


def test_accept_close_by_number_of_connection(portal: PortalController) -> None:
    portal.fault("accept-close", connection=[2, 3])
    seen = []
    for _ in range(4):
        with connected(portal, greeted=False) as client:
            seen.append(client.line()[:8])
    assert seen == [b"* ESPS/1", b"", b"", b"* ESPS/1"]


def test_by_transport_and_service(portal: PortalController) -> None:
    over_udp = portal.fault("truncate", transport="udp")
    portal.fault("close", service="count")
    with connected(portal) as client:
        assert client.call(b"a CALL echo") == b"a OK\n"
        assert client.call(b"b PING") == b"b OK\n"
        assert client.call(b"c CALL count") == b""
    assert over_udp.happened == 0
    with udp(portal) as datagrams:
        assert ask(datagrams, b"d PING\n") == b"d"


def test_by_chance(portal: PortalController) -> None:
    """The same requests meet the same fate for the same seed."""
    fates = []
    for _ in range(2):
        with (
            portal.fault("no-terminator", chance=0.5, seed=11) as fault,
            connected(portal) as client,
        ):
            client.send(b"a PING\n" * 40)
            client.socket.shutdown(socket.SHUT_WR)
            fates.append(client.rest())
            assert "seed=11" in str(fault)
            assert fates[0].count(b"\n") == 40 - fault.happened
    assert fates[0] == fates[1]
    assert 5 < fates[0].count(b"\n") < 35


def test_in_force_when_the_call_returns_and_no_more_once_lifted(portal: PortalController) -> None:
    with connected(portal) as client:
        for number in range(50):
            with portal.fault("no-terminator"):
                client.send(b"a PING\n")
                assert client.receive() == b"a OK", number
            assert client.call(b"b PING") == b"b OK\n"


def test_lifting_touches_nothing_that_is_faulted(
    clock: PortalClock, portal: PortalController
) -> None:
    with connected(portal) as client, connected(portal) as stalled:
        with portal.fault("stall", service="echo") as stall:
            stalled.send(b"a CALL echo\n")
            stall.wait_for(timeout=PATIENCE)
        with portal.fault("slice", at=4, pause=60, service="count"):
            client.send(b"a CALL count\n")
            assert client.receive() == b"a OK"
            portal.fault("reset").optional().remove()  # it does not wait for the other
        client.assert_silence()
        clock.jump(60)
        assert client.receive() == b" 1\n"
        stalled.assert_silence()


def test_the_first_that_ends_the_connection_wins(portal: PortalController) -> None:
    portal.fault("close", times=1)
    reset = portal.fault("reset").optional()
    with connected(portal) as client:
        client.send(b"a PING\nb PING\n")
        assert client.rest() == b""
    assert reset.happened == 0


def test_those_that_shape_a_reply_all_act_in_the_order_of_placing(
    portal: PortalController,
) -> None:
    first = portal.fault("patch", at=0, hex="7878")
    second = portal.fault("patch", at=1, hex="79")
    third = portal.fault("no-terminator")
    with connected(portal) as client:
        client.send(b"a PING\n")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.rest() == b"xyOK"
    assert (first.happened, second.happened, third.happened) == (1, 1, 1)


# -- stubs


def test_a_fault_on_a_stub(clock: PortalClock, portal: PortalController) -> None:
    portal.stub("price").reply("9.99")
    portal.fault("slice", service="price", at=4, pause=600)
    with connected(portal) as client:
        client.send(b"a CALL price\n")
        assert client.receive() == b"a OK"
        clock.jump(600)
        assert client.receive() == b" 9.99\n"
    assert portal.calls("price")[0].state == "faulted"


@pytest.mark.parametrize("late", [False, True])
def test_a_fault_on_a_stub_that_closes(portal: PortalController, late: bool) -> None:
    """The fault comes first, then the end that the stub asked for."""
    stub = portal.stub("price").reply("9.99").then_close()
    if late:
        stub.delay(0.01)
    portal.fault("no-terminator", service="price")
    with connected(portal) as client:
        client.send(b"a CALL price\nb PING\n")
        rest = client.rest()
        assert rest in {b"a OK 9.99", b"b OK\na OK 9.99"}
    (call,) = portal.calls("price")
    assert (call.state, call.sent) == ("faulted", b"a OK 9.99\n")


def test_a_stub_that_closes(portal: PortalController) -> None:
    portal.stub("price").data("1").reply("9.99").then_close()
    with connected(portal) as client:
        client.send(b"a CALL price\n")
        assert client.rest() == b"a DATA 1\na OK 9.99\n"
    (call,) = portal.calls("price")
    assert (call.state, call.sent) == ("replied", b"a DATA 1\na OK 9.99\n")


@pytest.mark.parametrize(
    ("kind", "parameters"), [("slice", {"at": 500}), ("coalesce", {"replies": 1})]
)
def test_a_fault_that_changes_nothing_leaves_no_trace(
    portal: PortalController,
    kind: Literal["slice", "coalesce"],
    parameters: dict[str, Any],
) -> None:
    fault = portal.fault(kind, **parameters).optional()
    with connected(portal) as client:
        assert client.call(b"a CALL echo x") == b"a OK x\n"
    (call,) = portal.calls("echo")
    assert (fault.happened, call.state, call.fault) == (0, "replied", "")
    assert "fault" not in portal.transcript()


def test_a_datagram_that_a_fault_does_not_change_leaves_no_trace(portal: PortalController) -> None:
    fault = portal.fault("truncate", bytes=500, transport="udp").optional()
    with udp(portal) as client:
        client.send(b"a CALL echo x\n")
        assert client.recv(100) == b"a OK x\n"
    (call,) = portal.calls("echo")
    assert (fault.happened, call.state, call.fault) == (0, "replied", "")
