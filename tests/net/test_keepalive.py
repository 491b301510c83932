"""A peer that has vanished during a silent call: the kernel finds it, in a minute."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import trio

from esps_portal.net import keepalive
from esps_portal.net.socket_stream import SocketStream
from tests.portals import running

# Of a row of /proc/net/tcp, which is in the byte order of the machine's words.
_LOCAL_AND_REMOTE = slice(1, 3)
_TIMER = 5
_KEEPALIVE_TIMER = "02"


def timer(local: int, remote: int) -> tuple[str, float]:
    """Return the timer of a connection over loopback: its kind, and when it fires in seconds.

    The kernel's table may leave a row out while others open sockets: the kind is then empty.
    """
    for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines():
        columns = row.split()
        ports = [address.rpartition(":")[2] for address in columns[_LOCAL_AND_REMOTE]]
        if ports == [f"{local:04X}", f"{remote:04X}"]:
            kind, _, jiffies = columns[_TIMER].partition(":")
            return kind, int(jiffies, 16) / os.sysconf("SC_CLK_TCK")
    return "", 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's table of sockets")
async def test_the_kernel_looks_for_a_peer_that_is_silent_during_a_call() -> None:  # ESPS-END-11
    async with running() as portal:
        client = await portal.tcp()
        await client.send(b"1 PING\n2 CALL stall\n")
        assert await client.line() == b"1 OK"
        client_port = client.stream.socket.getsockname()[1]
        kind, seconds = "", 0.0
        while kind != _KEEPALIVE_TIMER:  # the reply to PING has to be acknowledged first
            await trio.lowlevel.checkpoint()
            kind, seconds = timer(client.stream.socket.getpeername()[1], client_port)
        assert seconds <= keepalive.IDLE
    longest = keepalive.IDLE + keepalive.INTERVAL * keepalive.COUNT
    assert longest <= 60


@pytest.mark.parametrize("missing", ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"])
def test_a_platform_may_lack_an_option(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, missing, raising=False)
    with socket.socket() as sock:
        keepalive.keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_socket_that_was_reset_is_left_alone() -> None:
    with socket.socket() as sock:
        sock.close()
        keepalive.keep_alive(sock)


async def test_what_a_listener_does_not_pass_on_is_set_on_the_stream() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()):
        connected, _ = listener.accept()
        assert not keepalive.is_kept_alive(connected)
        stream = SocketStream(connected)
        assert keepalive.is_kept_alive(connected)
        stream.close()
