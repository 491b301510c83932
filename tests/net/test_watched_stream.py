"""One side of a relayed connection, where the system has no more for it."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from esps_portal.net.watched_stream import WatchedStream


async def test_a_side_that_cannot_be_watched_is_ended_and_the_log_says_no_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the other end sees FIN or RST is not decided there."""

    def fail(_: socket.socket) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("esps_portal.net.watched_stream.watch_errors", fail)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = socket.create_connection(listener.getsockname())
    connected.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    stream = WatchedStream(connected)
    await stream.until_fin()
    assert stream.is_broken
    stream.close()
    (message,) = caplog.messages
    assert message == f"a connection cannot be watched, and is ended: {os.strerror(errno.EMFILE)}"
