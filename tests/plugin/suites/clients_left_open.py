"""A suite whose clients stay open after their tests."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from esps_portal.testing import PortalController

left: list[socket.socket] = []


@pytest.fixture(scope="module", autouse=True)
def _end() -> Iterator[None]:
    yield
    for client in left:
        client.close()


@pytest.mark.esps_portal(strict=False)
@pytest.mark.parametrize("number", range(30))
def test_nothing_of_the_test_before_is_seen(esps_portal: PortalController, number: int) -> None:
    assert (esps_portal.journal(), esps_portal.problems()) == ([], [])
    for client in left:
        client.settimeout(30)
        with pytest.raises(ConnectionResetError):
            list(iter(partial(client.recv, 9999), b""))
        client.close()
    left[:] = [socket.create_connection((esps_portal.host, esps_portal.port)) for _ in range(3)]
    # One that is idle, one in the middle of a request, one with an unexpected call.
    left[1].send(b"a CALL ec")
    left[2].send(b"a CALL old\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"a CALL old\n", (esps_portal.host, esps_portal.port))
