"""What the kernel holds for a peer that does not read."""

from __future__ import annotations

import contextlib
import socket
import sys

import pytest

from esps_portal.net.bind import bind
from esps_portal.net.systems import unacked


@pytest.mark.skipif(sys.platform != "linux", reason="only there is what is held known")
def test_the_kernel_holds_little_for_a_peer_that_does_not_read() -> None:
    sockets = bind(["127.0.0.1"], 0, udp=False)
    (listener,) = sockets.tcp
    listener.settimeout(30)
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(listener.getsockname())
            with listener.accept()[0] as served:
                served.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        served.send(bytes(65536))
                assert unacked(served) < 500_000
    finally:
        sockets.close()
