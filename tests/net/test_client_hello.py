"""What a TLS client offers is read from its first message, however that is cut."""

from __future__ import annotations

import socket
import ssl
import sys

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from esps_portal.net.client_hello import MAX_HELLO, Incomplete, offered_protocols_untrusted
from esps_portal.net.handshake import offered_protocols
from tests.patience import PATIENCE

needs_low_water = pytest.mark.skipif(sys.platform == "win32", reason="there is no SO_RCVLOWAT")


def hello(*protocols: str, name: str = "localhost") -> bytes:
    """Return the first message of a real client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def in_records(message: bytes, size: int) -> bytes:
    """Return a message of one record in records of so many bytes."""
    head, body = message[:3], message[5:]
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(head + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize(
    ("protocols", "found"),
    [
        ((), None),
        (("h2", "http/1.1"), (b"h2", b"http/1.1")),
        (("esps/1",), (b"esps/1",)),
        (("x" * 255,) * 20, (b"x" * 255,) * 20),
    ],
)
def test_the_protocols_are_found(protocols: tuple[str, ...], found: object) -> None:
    # ESPS-TLS-4, ESPS-TLS-10
    message = hello(*protocols)
    for records in (message, in_records(message, 1), in_records(message, 100)):
        if len(records) <= MAX_HELLO:
            assert offered_protocols_untrusted(records) == found
            assert offered_protocols_untrusted(records + b"more") == found
        for size in range(0, min(len(records), MAX_HELLO), 37):
            short = offered_protocols_untrusted(records[:size])
            assert isinstance(short, Incomplete)
            assert size < short.needed <= len(records)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x15\x03\x03\x00\x02\x02\x78",
        b"\x16\x03\x01\x00\x00",  # no record of a handshake is empty
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" * (MAX_HELLO // 9),
    ],
)
def test_what_is_none_is_left_to_openssl(data: bytes) -> None:
    assert offered_protocols_untrusted(data + bytes(MAX_HELLO)) is None


def with_extensions(extensions: bytes) -> bytes:
    """Return a ClientHello of one record, with these at its end."""
    hello = bytes(34) + b"\0" + b"\0\2\x13\1" + b"\1\0" + _sized(extensions)
    message = b"\1" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\3\1" + _sized(message)


def _sized(field: bytes) -> bytes:
    return len(field).to_bytes(2, "big") + field


NAMES = b"".join(b"\1x" for _ in range(4000))


@pytest.mark.parametrize(
    ("extensions", "found"),
    [
        (b"\xfe\0\0\0" * 4000 + b"\0\x10" + _sized(_sized(b"\2h2")), (b"h2",)),
        (b"\0\x10" + _sized(_sized(NAMES)), (b"x",) * 4000),
        (b"\0\x10" + _sized(_sized(NAMES + b"\2x")), None),
    ],
    ids=["many extensions", "many names", "a name that is cut off"],
)
def test_what_has_thousands_of_fields_is_read_at_once(extensions: bytes, found: object) -> None:
    """Strangers send as many as they like, and it was quadratic work."""
    calls = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    data = with_extensions(extensions)
    assert len(data) < MAX_HELLO
    sys.setprofile(count)
    try:
        protocols = offered_protocols_untrusted(data)
    finally:
        sys.setprofile(None)
    assert protocols == found
    assert calls < 50


@given(st.data())
def test_a_changed_message_is_read_without_fault(data: st.DataObject) -> None:
    message = bytearray(hello("h2"))
    for _ in range(data.draw(st.integers(0, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(message[: data.draw(st.integers(0, len(message)))])
    found = offered_protocols_untrusted(cut)
    if isinstance(found, Incomplete):
        assert len(cut) < found.needed <= MAX_HELLO
    else:
        assert found is None or isinstance(found, tuple)


@needs_low_water
async def test_who_sends_a_part_costs_nothing_meanwhile() -> None:
    # ESPS-TLS-8: a part of the message stays readable, and nobody looks at it again and again
    message = hello("h2")
    found: list[object] = []
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(0)

            async def look() -> None:
                found.append(await offered_protocols(accepted))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(look)
                for start in range(0, len(message) - 1, 100):
                    client.sendall(message[start : min(start + 100, len(message) - 1)])
                    await trio.testing.wait_all_tasks_blocked(cushion=0.02)
                assert not found
                client.sendall(message[-1:])
            assert found == [(b"h2",)]
            assert accepted.recv(len(message) + 1) == message  # all of it is left


async def test_who_leaves_within_the_message_offers_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, socket.create_connection(listener.getsockname()) as client:
        accepted, _ = listener.accept()
        with accepted:
            accepted.settimeout(0)
            client.sendall(hello("h2")[:50])
            client.shutdown(socket.SHUT_WR)
            with trio.fail_after(PATIENCE):
                assert await offered_protocols(accepted) is None
