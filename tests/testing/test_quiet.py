"""What a client sent just before somebody looks is seen: nothing of it is still in the kernel."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import pytest
import trio

from esps_portal.testing import PortalController, VerificationError
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.patience import PATIENCE
from tests.sockets import connected

ROUNDS = 50
CALL = b"a CALL nobody\n"


def sent_and_closed(portal: PortalController, _: contextlib.ExitStack) -> None:
    with socket.create_connection((portal.host, portal.port)) as client:
        client.sendall(CALL)


def sent_and_kept(portal: PortalController, held: contextlib.ExitStack) -> None:
    client = held.enter_context(socket.create_connection((portal.host, portal.port)))
    client.sendall(CALL)


def sent_after_others(portal: PortalController, _: contextlib.ExitStack) -> None:
    """The accept queue holds more, and the request is one of many."""
    clients = [socket.create_connection((portal.host, portal.port)) for _ in range(5)]
    clients[-1].sendall(b"a PING\n" * 50 + CALL)
    for client in clients:
        client.close()


def sent_over_udp(portal: PortalController, _: contextlib.ExitStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(CALL, (portal.host, portal.port))


@pytest.mark.parametrize("send", [sent_and_closed, sent_and_kept, sent_after_others, sent_over_udp])
def test_no_call_is_missed(
    portal: ThreadedPortal, send: Callable[[PortalController, contextlib.ExitStack], None]
) -> None:
    seen = []
    for _ in range(ROUNDS):
        with contextlib.ExitStack() as held:
            send(portal, held)
            seen.append(bool(portal.release().problems))
            portal.acquire(lambda _: None)
            send(portal, held)
            try:
                portal.verify()
            except VerificationError:
                seen.append(True)
            portal.reset()
    assert seen == [True] * 2 * ROUNDS


@pytest.mark.parametrize("many", [60, 600])
def test_no_call_is_missed_where_each_request_takes_a_turn(
    portal: ThreadedPortal, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    """A client that is gone has asked all the same, however busy the machine is."""
    monkeypatch.setattr("esps_portal.server.answerer.TURN_SECONDS", -1.0)
    with socket.create_connection((portal.host, portal.port)) as client:
        client.sendall(b"a PING\n" * many + CALL)
    assert portal.release().problems
    portal.acquire(lambda _: None)


def test_a_loop_that_is_never_quiet_is_not_waited_for(portal: PortalController) -> None:
    @portal.service
    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    with connected(portal) as client:
        client.send(b"a CALL spin\n")
        portal.wait_for("spin", timeout=PATIENCE)
        portal.verify()
        assert portal.problems() == []


def test_a_service_may_ask_for_findings(portal: PortalController) -> None:
    """It runs in the loop that would have to become quiet."""
    portal.service(name="judge")(lambda: str(len(portal.problems())))
    portal.stub("never").optional()
    with connected(portal) as client:
        client.call(b"a CALL nobody")
        assert client.call(b"b CALL judge") == b"b OK 1\n"


def test_no_call_is_missed_where_all_the_time_was_other_processes(
    portal: ThreadedPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esps_portal.net.quiet.AT_MOST", 0)
    for _ in range(ROUNDS):
        with contextlib.ExitStack() as held:
            sent_after_others(portal, held)
            assert portal.release().problems
            portal.acquire(lambda _: None)
