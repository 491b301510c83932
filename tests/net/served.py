"""Whether a portal is served, refuses, or has its ports, as plain sockets see it."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from esps_portal.testing import PortalController
from tests.patience import PATIENCE
from tests.sockets import ask, connected, udp


def assert_refused(portal: PortalController) -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        socket.create_connection((portal.host, portal.port), PATIENCE)
    assert caught.value.errno == errno.ECONNREFUSED
    with udp(portal) as client:
        client.send(b"a PING\n")
        with pytest.raises(ConnectionRefusedError) as caught:
            client.recv(100)
        assert caught.value.errno == errno.ECONNREFUSED


def assert_served(portal: PortalController) -> None:
    with connected(portal) as client, udp(portal) as datagrams:
        assert client.call(b"a PING") == b"a OK\n"
        assert ask(datagrams, b"a PING\n") == b"a OK\n"


def assert_taken(portal: PortalController) -> None:
    """Nobody else gets the port, whatever option they set."""
    family = socket.AF_INET6 if ":" in portal.host else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for option in (None, socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            with socket.socket(family, kind) as thief:
                if option is not None:
                    thief.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use") as caught:
                    thief.bind((portal.host, portal.port))
                assert caught.value.errno == errno.EADDRINUSE


@contextlib.contextmanager
def standing_still(
    portal: PortalController, then: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """The portal's loop stands still, so that what comes waits in the kernel's queues.

    Args:
        then: what the loop does next, before anything else.
    """
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert leave.wait(PATIENCE)
        then()

    # One request is answered in the loop: as long as its service runs nothing else does.
    portal.service(name="hold")(hold)
    with udp(portal) as client:
        client.send(b"hold CALL hold\n")
        assert entered.wait(PATIENCE)
        yield
        leave.set()
