"""Handshakes of TLS take turns: whoever else has a question waits for a few of them."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio

from esps_portal.net.socket_stream import SocketStream
from esps_portal.net.tls import TLSSocket, Wants
from esps_portal.net.tls_server import ServerTLS
from esps_portal.net.turns import Turns
from tests.certificates import Certificates
from tests.passes import Passes
from tests.patience import PATIENCE
from tests.tls_clients import trusting

CLIENTS, AT_ONCE = 12, 2


def pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), PATIENCE)
        accepted, _ = listener.accept()
    for sock in (client, accepted):
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return client, accepted


@pytest.mark.parametrize("of_server", [True, False], ids=["of a server", "with an upstream"])
async def test_some_go_on_in_each_pass(
    certificates: Certificates, of_server: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, passes, step = Turns(AT_ONCE, seconds=PATIENCE), Passes(), TLSSocket.shake_hands
    pairs = [pair() for _ in range(CLIENTS)]
    counted = {accepted if of_server else client for client, accepted in pairs}

    def noted(tls: TLSSocket) -> Wants | None:
        if tls.raw in counted:
            passes.note(tls)
        return step(tls)

    monkeypatch.setattr(TLSSocket, "shake_hands", noted)
    server, context = ServerTLS(certificates.portal.context()), trusting(certificates.ca)
    if of_server:
        server.turns = turns
    with passes.counted(), trio.fail_after(PATIENCE), contextlib.ExitStack() as streams:
        async with trio.open_nursery() as nursery:
            for ends in pairs:
                connected, accepted = (SocketStream(each, tls=server) for each in ends)
                streams.callback(connected.close)
                streams.callback(accepted.close)
                nursery.start_soon(accepted.shake_hands)
                nursery.start_soon(
                    connected.shake_hands_as_client,
                    context,
                    "127.0.0.1",
                    Turns() if of_server else turns,
                )
    # One that comes while the loop waits is counted for the next pass; see `Turns`.
    assert passes.most in (AT_ONCE, AT_ONCE + 1)
    assert passes.count >= CLIENTS
