"""TLS on a socket: what one call does, and that nothing stays inside that a poll would miss."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from esps_portal.net.tls import RECORD_SIZE, TLSSocket, Wants
from esps_portal.net.tls_errors import TLSError
from tests.certificates import Certificates
from tests.key_updates import key_updates
from tests.patience import PATIENCE
from tests.tls_clients import trusting

VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
KEY_UPDATE_SIZE = 27


class BareClient:
    """OpenSSL as a client, whose bytes the test sends itself."""

    def __init__(self, context: ssl.SSLContext, sock: socket.socket) -> None:
        self.socket = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")

    def step(self) -> bool:
        """Take a step of the handshake, and return whether it is done; its bytes are not sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def flush(self) -> None:
        self.socket.sendall(self.outgoing.read())

    def read(self) -> bytes:
        """Wait for data; ``b""`` is close_notify."""
        while True:
            try:
                return self.tls.read(RECORD_SIZE)
            except ssl.SSLWantReadError:
                received = self.socket.recv(RECORD_SIZE)
                assert received, "FIN without close_notify"
                self.incoming.write(received)
            except ssl.SSLZeroReturnError:  # both sides have sent it
                return b""


class WithoutRoom(socket.socket):
    def send(self, *_: object) -> int:
        raise BlockingIOError


@contextlib.contextmanager
def shaken(
    certificates: Certificates,
    context: ssl.SSLContext,
    *,
    with_its_end: bytes = b"",
) -> Iterator[tuple[TLSSocket, BareClient]]:
    """Yield a server, which does not block, and its client after their handshake.

    Args:
        with_its_end: what the client sends in one piece with the end of its handshake.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connected = socket.create_connection(listener.getsockname(), PATIENCE)
        accepted, _ = listener.accept()
    accepted.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    client = BareClient(context, connected)
    server = TLSSocket(accepted, certificates.portal.context())
    with connected, contextlib.closing(server):
        wants: Wants | None = Wants.INPUT
        while True:
            is_done = client.step()
            if is_done:
                client.tls.write(with_its_end)
            client.flush()
            if wants is not None:
                wait_readable(server)
                wants = server.shake_hands()
            if is_done:
                break
            client.incoming.write(connected.recv(RECORD_SIZE))
        assert wants is None
        yield server, client


def is_readable(server: TLSSocket, seconds: float = 0) -> bool:
    return bool(select.select([server], [], [], seconds)[0])


def wait_readable(server: TLSSocket) -> None:
    assert is_readable(server, PATIENCE)


def test_one_read_deals_with_what_one_read_brings(
    certificates: Certificates, tmp_path: Path
) -> None:
    count, context = 3000, trusting(certificates.ca, version=ssl.TLSVersion.TLSv1_3)
    context.keylog_filename = str(tmp_path / "keys")
    with shaken(certificates, context) as (server, client):
        client.socket.sendall(key_updates(tmp_path / "keys", count, b"data"))
        reads, data = 0, None
        while data is None:
            wait_readable(server)
            reads += 1
            with contextlib.suppress(BlockingIOError):
                data = server.recv(RECORD_SIZE)
    assert data == b"data"
    assert reads >= count * KEY_UPDATE_SIZE / RECORD_SIZE


@VERSIONS
def test_a_request_comes_with_the_end_of_the_handshake(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    context = trusting(certificates.ca, version=version)
    with shaken(certificates, context, with_its_end=b"") as (server, client):
        assert not is_readable(server)
        client.tls.write(b"next")
        client.flush()
        wait_readable(server)
        assert server.recv(RECORD_SIZE) == b"next"
        assert not is_readable(server)
    with shaken(certificates, context, with_its_end=b"first") as (server, client):
        assert is_readable(server)
        assert server.recv(RECORD_SIZE) == b"first"
        assert not is_readable(server)


@VERSIONS
def test_close_notify_comes_with_the_last_data(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    with shaken(certificates, trusting(certificates.ca, version=version)) as (server, client):
        client.tls.write(b"last")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        client.flush()
        wait_readable(server)
        assert server.recv(RECORD_SIZE) == b"last"
        assert is_readable(server)
        assert server.recv(RECORD_SIZE) == b""
        assert not is_readable(server), "what is left at the end would turn FIN into RST"
        server.shutdown(socket.SHUT_WR)
        assert client.read() == b""


@VERSIONS
def test_what_is_no_record_comes_with_the_last_data(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    with shaken(certificates, trusting(certificates.ca, version=version)) as (server, client):
        client.tls.write(b"last")
        client.socket.sendall(client.outgoing.read() + b"no record of TLS")
        wait_readable(server)
        assert server.recv(RECORD_SIZE) == b"last"
        assert is_readable(server)
        for _ in range(2):
            with pytest.raises(TLSError, match="it does not speak TLS"):
                server.recv(RECORD_SIZE)


def test_a_record_that_comes_in_pieces(certificates: Certificates) -> None:
    with shaken(certificates, trusting(certificates.ca)) as (server, client):
        client.tls.write(b"data")
        *pieces, last = (bytes((byte,)) for byte in client.outgoing.read())
        for piece in pieces:
            client.socket.sendall(piece)
            wait_readable(server)
            with pytest.raises(BlockingIOError):
                server.recv(RECORD_SIZE)
        client.socket.sendall(last)
        wait_readable(server)
        assert server.recv(RECORD_SIZE) == b"data"


def test_a_write_without_room_is_repeated(certificates: Certificates) -> None:
    data = b"".join(b"%08d" % number for number in range(1_500_000))
    with shaken(certificates, trusting(certificates.ca)) as (server, client):
        rest, received, repeats = memoryview(data), bytearray(), 0
        while len(received) < len(data):
            try:
                rest = rest[server.send(rest[: 4 * RECORD_SIZE]) :]
            except BlockingIOError:
                repeats += 1
                received += client.read()
            if not rest:
                received += client.read()
    assert received == data
    assert repeats > 0


def test_what_tls_itself_answers_is_bounded(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esps_portal.net.tls._MAX_UNSENT", 0)
    with shaken(certificates, trusting(certificates.ca)) as (server, client):
        server.raw = WithoutRoom(fileno=server.raw.detach())
        with pytest.raises(BlockingIOError):
            server.send(b"more than 0")
        client.tls.write(b"data")
        client.flush()
        wait_readable(server)
        assert server.recv(RECORD_SIZE) == b"data"
        with pytest.raises(TLSError, match="it does not read what TLS answers"):
            server.recv(RECORD_SIZE)
