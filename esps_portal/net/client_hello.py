"""Reads which protocols a TLS client offers (ALPN, RFC 7301) from the first bytes that it sends.

OpenSSL, as `ssl` configures it, continues without a protocol if the client offers only others. Then
what a web page makes a browser send to our port would be read as if it were meant for us. So the
ClientHello (RFC 8446 section 4.1.2) is examined before OpenSSL gets it. Nothing else of TLS is done
here, and OpenSSL refuses what is malformed. No clock, no socket, no trio.
"""

from __future__ import annotations

import attrs

#: Bytes of a ClientHello with the headers of its records. Own choice: ten times that of a browser,
#: key shares of post-quantum algorithms included.
MAX_HELLO = 16384
#: The record with the fatal alert no_application_protocol (RFC 7301 section 3.2).
NO_APPLICATION_PROTOCOL = bytes((21, 3, 3, 0, 2, 2, 120))

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_VERSION_AND_RANDOM = 2 + 32
_ALPN = 16


@attrs.frozen
class Incomplete:
    """There is no whole ClientHello yet.

    Attributes:
        needed: bytes that have to be there before it is worth looking again.
    """

    needed: int


def offered_protocols_untrusted(data: bytes) -> tuple[bytes, ...] | Incomplete | None:
    """Return the protocols that a client offers, given what has come so far, from the first byte.

    Returns:
        `None`: it offers none, or this is no ClientHello, or one longer than `MAX_HELLO`.
    """
    message = b""
    start = 0
    while True:
        end = start + _RECORD_HEADER
        if len(data) >= end:
            if data[start] != _HANDSHAKE:
                return None
            end += int.from_bytes(data[end - 2 : end], "big")
        if end > MAX_HELLO:
            return None
        if len(data) < end:
            return Incomplete(end)
        if end == start + _RECORD_HEADER:
            return None  # an empty record, which no handshake has (RFC 8446 section 5.1)
        message += data[start + _RECORD_HEADER : end]
        start = end
        if len(message) >= _MESSAGE_HEADER:
            if message[0] != _CLIENT_HELLO:
                return None
            size = _MESSAGE_HEADER + int.from_bytes(message[1:_MESSAGE_HEADER], "big")
            if len(message) >= size:
                return _protocols(message[_MESSAGE_HEADER:size])


class _Fields:
    """Takes fields from bytes, one after the other.

    Each method raises `ValueError` where a field is longer than what is left.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if len(self._data) < size:
            raise ValueError("a field is longer than what holds it")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def vector(self, size_of_length: int) -> bytes:
        """Return the next field; a length of ``size_of_length`` bytes precedes it."""
        return self.take(int.from_bytes(self.take(size_of_length), "big"))


def _protocols(hello: bytes) -> tuple[bytes, ...] | None:
    fields = _Fields(hello)
    try:
        fields.take(_VERSION_AND_RANDOM)
        for size_of_length in (1, 2, 1):  # session, cipher suites, compression methods
            fields.vector(size_of_length)
        extensions = _Fields(fields.vector(2) if fields else b"")
        while extensions:
            kind, content = int.from_bytes(extensions.take(2), "big"), extensions.vector(2)
            if kind == _ALPN:
                names = _Fields(_Fields(content).vector(2))
                found = []
                while names:
                    found.append(names.vector(1))
                return tuple(found)
    except ValueError:
        pass  # OpenSSL refuses it
    return None
