"""Reads which protocols a TLS client offers (ALPN, RFC 7301) from the first bytes that it sends.

OpenSSL, as `ssl` configures it, continues without a protocol if the client offers only others. Then
what a web page makes a browser send to our port would be read as if it were meant for us. So the
ClientHello (RFC 8446 section 4.1.2) is examined before OpenSSL gets it. Nothing else of TLS is done
here, and OpenSSL refuses what is malformed. No clock, no socket, no trio.
"""

from __future__ import annotations

import struct

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
_EXTENSION = struct.Struct("!HH")  # what precedes its content: its kind, and its length
_TOO_LONG = "a field is longer than what holds it"


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


def _protocols(hello: bytes) -> tuple[bytes, ...] | None:
    """Return what the extension ALPN offers.

    A hello may have thousands of fields: it is read in place, and copied nowhere.
    """
    start = _VERSION_AND_RANDOM
    try:
        for size_of_length in (1, 2, 1):  # session, cipher suites, compression methods
            _, start = _vector(hello, start, size_of_length)
        if start == len(hello):
            return None
        start, end = _vector(hello, start, 2)
        while start < end:
            kind, size = _EXTENSION.unpack_from(hello, start)
            start += _EXTENSION.size + size
            if kind == _ALPN:
                return _names(hello[start - size : start])
    except (ValueError, struct.error):
        pass  # OpenSSL refuses it
    return None


def _names(extension: bytes) -> tuple[bytes, ...]:
    start, end = _vector(extension, 0, 2)
    names = []
    while start < end:
        begin = start + 1
        start = begin + extension[start]
        names.append(extension[begin:start])
    if start > end:
        raise ValueError(_TOO_LONG)
    return tuple(names)


def _vector(data: bytes, start: int, size_of_length: int) -> tuple[int, int]:
    """Return where the content of a field begins and ends; its length precedes it.

    Raises:
        ValueError: it is longer than ``data``.
    """
    begin = start + size_of_length
    end = begin + int.from_bytes(data[start:begin], "big")
    if end > len(data):
        raise ValueError(_TOO_LONG)
    return begin, end
