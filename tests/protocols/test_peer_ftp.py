"""ftplib against a peer: a log-in, whose order matters, and replies of several lines."""

from __future__ import annotations

import ftplib
import re

import pytest

from esps_portal.testing import PeerController, PeerFactory, close, expect, lines, raw, send, wait
from tests.patience import PATIENCE


@pytest.fixture
def peer(esps_peer: PeerFactory) -> PeerController:
    peer = esps_peer(lines("\r\n"), greeting=["220-welcome", "220 ready"])
    peer.stub("QUIT").reply("221 bye").then_close().optional()
    return peer


def log_in(peer: PeerController) -> str:
    with ftplib.FTP() as client:  # noqa: S321 - a client of a peer; it says QUIT at the end
        assert client.connect(peer.host, peer.port, PATIENCE) == "220-welcome\n220 ready"
        return client.login("me", "secret")


def test_a_log_in(peer: PeerController) -> None:
    """The reply comes in two pieces, the first of which ends within a line."""
    peer.conversation(
        *(expect("USER me"), send("331 and the password")),
        *(expect("PASS secret"), raw("230-hello\r\n23"), wait(0.05), raw("0 go on\r\n")),
    )
    assert log_in(peer) == "230-hello\n230 go on"


def test_a_wrong_password(peer: PeerController) -> None:
    peer.conversation(
        expect("USER me"), send("331"), expect(re.compile(b"^PASS")), send("530 no"), close()
    )
    with pytest.raises(ftplib.error_perm, match="530 no"):
        log_in(peer)


def test_a_server_that_goes_within_a_line(peer: PeerController) -> None:
    peer.conversation(expect("USER me"), raw("331-and th"), close())
    with pytest.raises((EOFError, ftplib.Error)):
        log_in(peer)
