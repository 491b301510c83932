"""The dissector on ESPS/1 over TLS: a real handshake, with and without the keys of the session."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.signatures.dissection import Dissect, Line, Said, of_tcp, tcp_capture

pytestmark = pytest.mark.heavy


class Peer:
    """One side of a TLS connection, in memory."""

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=host is None, server_hostname=host
        )

    def shake_hands(self) -> bool:
        """Whether the handshake is complete."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True


def converse(keys: Path, said: list[Said]) -> list[Said]:
    """Return what is sent; the keys of the session are written into a file."""
    authority = trustme.CA()
    ours = ssl.create_default_context()
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(ours)
    authority.issue_cert("portal.example").configure_cert(theirs)
    ours.keylog_filename = str(keys)
    client, server = Peer(ours, "portal.example"), Peer(theirs, None)
    sent: list[Said] = []

    def deliver() -> None:
        if data := client.outgoing.read():
            sent.append(("client", data))
            server.incoming.write(data)
        if data := server.outgoing.read():
            sent.append(("server", data))
            client.incoming.write(data)

    while not all([client.shake_hands(), server.shake_hands()]):
        deliver()
    for side, data in said:
        (client if side == "client" else server).tls.write(data)
        deliver()
    return sent


SAID: list[Said] = [
    ("server", b"* ESPS/1 x/1\n"),
    ("client", b"a PING x\nb PI"),
    ("client", b"NG\n"),
    ("server", b"a OK x\nb OK\n"),
]


def test_what_is_encrypted(dissect: Dissect, tmp_path: Path) -> None:
    """A record has no lines without the keys; with them they are shown, however they are cut."""
    keys = tmp_path / "keys"
    segments: list[list[Said]] = [
        [
            (side, data[start : start + size])
            for side, data in converse(keys, SAID)
            for start in range(0, len(data), size)
        ]
        for size in (50, 5000)
    ]
    capture = tcp_capture(*segments)
    assert dissect(capture) == []
    shown = dissect(capture, "-o", f"tls.keylog_file:{keys}")
    for lines in shown[:5], shown[5:]:
        greeting, first, second, *replies = lines
        assert greeting.get("product") == "x/1"
        assert [request.get("tag") for request in (first, second)] == ["a", "b"]
        frames = [str(request.frame) for request in (first, second)]
        assert [reply.get("response_to") for reply in replies] == frames


@of_tcp(
    [
        ("server", b"* ESPS/1 x/1\n"),
        ("client", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
        ("server", b"* ERR bad-line no%20TLS\n"),
    ]
)
def test_damaged_tls_to_a_plain_portal(lines: list[Line]) -> None:
    greeting, damaged, error = lines
    assert damaged.get("bad_line") == ""
    assert (greeting.get("notice"), error.get("code")) == ("ESPS/1", "bad-line")
