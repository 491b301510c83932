"""A suite that checks which connections of the test before are still open."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from esps_portal.testing import PortalAddress, PortalController

forgotten: list[socket.socket] = []


def greeted(portal: PortalController | PortalAddress) -> socket.socket:
    client = socket.create_connection((portal.host, portal.port), 10)
    assert read(client).startswith(b"* ESPS/1 ")
    return client


def read(client: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        data = client.recv(1)
        assert data
        line += data
    return line


@pytest.fixture(scope="session")
def early(esps_portal_address: PortalAddress) -> Iterator[socket.socket]:
    with greeted(esps_portal_address) as client:
        yield client


def is_open(client: socket.socket) -> bool:
    try:
        client.sendall(b"b PING\n")
        while read(client) != b"b OK\n":
            pass  # an answer from before
    except ConnectionResetError:
        return False
    return True


def test_who_came_before_the_first_test(
    early: socket.socket, esps_portal: PortalController
) -> None:
    assert is_open(early)
    (connection,) = esps_portal.connections()
    assert (connection.number, connection.is_kept, connection.requests) == (1, True, 1)


def test_who_was_idle_at_the_end_of_a_test(
    early: socket.socket, esps_portal: PortalController, pytestconfig: pytest.Config
) -> None:
    keeps = pytestconfig.getini("esps_portal_reset") == "keep"
    assert is_open(early) == keeps
    assert len(esps_portal.connections()) == keeps


LATE: list[Callable[[PortalController], object]] = [
    lambda portal: portal.fault("latency", seconds=60),
    lambda portal: portal.fault("coalesce", replies=2, seconds=60),
    lambda portal: portal.fault("stall"),
]
LEFT = [b"a", b"a CALL delay 60000\n", b"a PING\n" + b"x" * 9000, b"a CALL stall\n"]


@pytest.mark.parametrize("left", LEFT)
def test_who_was_not_idle(esps_portal: PortalController, left: bytes) -> None:
    """What this leaves behind is looked at by the next one."""
    look_at_what_is_left()
    client = greeted(esps_portal)
    client.sendall(left)
    forgotten.append(client)
    if b"CALL" in left:
        esps_portal.wait_for(timeout=30)


@pytest.mark.parametrize("place", LATE)
def test_whose_answer_was_late(
    esps_portal: PortalController, place: Callable[[PortalController], object]
) -> None:
    look_at_what_is_left()
    place(esps_portal)
    client = greeted(esps_portal)
    client.sendall(b"a CALL echo hi\n")
    forgotten.append(client)
    esps_portal.wait_for(timeout=30)


def look_at_what_is_left() -> None:
    for client in forgotten:
        with client:
            assert not is_open(client)
    forgotten.clear()


def test_the_last_one(esps_portal: PortalController) -> None:
    look_at_what_is_left()
