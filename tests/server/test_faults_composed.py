"""Several faults on one reply: those that shape it act one after another, the first end wins."""

from __future__ import annotations

from esps_portal.testing import PortalController
from tests.clocks import PortalClock
from tests.patience import PATIENCE
from tests.sockets import (
    ask,
    assert_no_datagram,
    connected,
    udp,
)


def test_late_then_reset(clock: PortalClock, portal: PortalController) -> None:
    late = portal.fault("latency", seconds=600)
    portal.fault("reset")
    with connected(portal) as client:
        client.send(b"a CALL echo\n")
        late.wait_for(timeout=PATIENCE)
        clock.jump(599)
        client.assert_silence()
        clock.jump(1)
        client.assert_reset()
    (call,) = portal.calls()
    assert call.fault == "latency seconds=600 jitter=0.0; reset"


def test_reset_leaves_nothing_to_delay(portal: PortalController) -> None:
    portal.fault("reset")
    late = portal.fault("latency", seconds=600).optional()
    with connected(portal) as client:
        client.send(b"a PING\n")
        client.assert_reset()
    assert late.happened == 0


def test_late_twice(clock: PortalClock, portal: PortalController) -> None:
    """Each is counted from when the reply came: the later of the two times counts, not the sum."""
    late = portal.fault("latency", seconds=100)
    portal.fault("latency", seconds=300)
    with connected(portal) as client:
        client.send(b"a PING\n")
        late.wait_for(timeout=PATIENCE)
        clock.jump(100)
        client.assert_silence()
        clock.jump(300)
        assert client.line() == b"a OK\n"


def test_slice_and_corrupt(clock: PortalClock, portal: PortalController) -> None:
    """The corrupted line comes in two pieces."""
    portal.fault("slice", at=4, pause=600)
    portal.fault("corrupt", at=5, bytes=2, seed=1)
    with connected(portal) as client:
        client.send(b"a CALL echo xyz\n")
        assert client.receive() == b"a OK"
        client.assert_silence()
        clock.jump(600)
        rest = client.receive()
        assert len(rest) == 5
        assert [n for n, byte in enumerate(rest) if byte != b" xyz\n"[n]] == [1, 2]


def test_patch_and_truncate(portal: PortalController) -> None:
    portal.fault("patch", at=3, hex="2323")
    portal.fault("truncate", bytes=6)
    with connected(portal) as client:
        client.send(b"a CALL echo xyz\n")
        assert client.rest() == b"a O##x"


def test_patch_twice(portal: PortalController) -> None:
    """The later one has the last word."""
    portal.fault("patch", at=2, hex="2323")
    portal.fault("patch", at=3, hex="2424")
    with connected(portal) as client:
        assert client.call(b"a CALL echo xyz") == b"a #$$xyz\n"


def test_of_two_ends_the_first_wins(portal: PortalController) -> None:
    """The first in the stream, whichever was placed first."""
    second = portal.fault("reset", offset=5).optional()
    portal.fault("close", offset=3)
    with connected(portal) as client:
        client.send(b"a CALL echo xyz\n")
        assert client.rest() == b"a O"
    assert second.happened == 0


def test_deaf_and_late(clock: PortalClock, portal: PortalController) -> None:
    """In either order: nothing more is read, and the reply is late."""
    portal.fault("deaf", match="echo")
    late = portal.fault("latency", seconds=600, match="echo")
    with connected(portal) as client:
        client.send(b"a CALL echo xyz\nb PING\n")
        late.wait_for(timeout=PATIENCE)
        client.assert_silence()
        clock.jump(600)
        assert client.line() == b"a OK xyz\n"
        client.assert_silence()


def test_a_reply_and_the_whole_connection_in_the_order_of_placing(
    portal: PortalController,
) -> None:
    with connected(portal) as client:
        portal.fault("patch", unit="connection", at=2, hex="2323")
        portal.fault("patch", match="echo", at=3, hex="2424")
        assert client.call(b"a CALL echo xyz") == b"a #$$xyz\n"
        assert client.call(b"b CALL echo xyz") == b"b O$$xyz\n"


def test_duplicate_and_corrupt(portal: PortalController) -> None:
    portal.fault("duplicate", copies=3)
    portal.fault("corrupt", at=5, bytes=1, seed=1)
    with udp(portal) as client:
        first = ask(client, b"a CALL echo xyz\n")
        assert [client.recv(100) for _ in range(2)] == [first, first]
        assert [n for n, byte in enumerate(first) if byte != b"a OK xyz\n"[n]] == [5]
        assert_no_datagram(client)


def test_truncate_and_duplicate(portal: PortalController) -> None:
    portal.fault("truncate", bytes=4, transport="udp")
    portal.fault("duplicate")
    with udp(portal) as client:
        assert [ask(client, b"a PING\n"), client.recv(100)] == [b"a OK", b"a OK"]


def test_dropped_first(portal: PortalController) -> None:
    """What is lost cannot be changed any more."""
    portal.fault("drop", times=1)
    others = [portal.fault("duplicate"), portal.fault("patch", at=0, hex="23")]
    with udp(portal) as client:
        client.send(b"a PING\n")
        assert_no_datagram(client)
        assert [fault.happened for fault in others] == [0, 0]
        assert [ask(client, b"b PING\n"), client.recv(100)] == [b"# OK\n"] * 2


def test_dropped_last(portal: PortalController) -> None:
    duplicate, drop = portal.fault("duplicate"), portal.fault("drop", times=1)
    with udp(portal) as client:
        client.send(b"a PING\n")
        assert_no_datagram(client)
        assert (duplicate.happened, drop.happened) == (1, 1)
        assert [ask(client, b"b PING\n"), client.recv(100)] == [b"b OK\n"] * 2


def test_late_and_from_another_port(clock: PortalClock, portal: PortalController) -> None:
    late = portal.fault("delay", seconds=600)
    portal.fault("wrong-source")
    with udp(portal, joined=False) as client:
        client.sendto(b"a PING\n", (portal.host, portal.port))
        late.wait_for(timeout=PATIENCE)
        assert_no_datagram(client)
        clock.jump(600)
        data, (_, port) = client.recvfrom(100)
        assert data == b"a OK\n"
        assert port != portal.port
