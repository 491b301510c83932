"""KeyUpdate messages of TLS 1.3 (RFC 8446 section 4.6.3), which Python's `ssl` sends none of.

A client's secret is in its key log, so its records can be made here.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# TLS_AES_256_GCM_SHA384, which OpenSSL prefers.
_HASH, _KEY_SIZE, _IV_SIZE = hashlib.sha384, 32, 12
_APPLICATION_DATA, _HANDSHAKE = 23, 22
_KEY_UPDATE = b"\x18\x00\x00\x01\x00"


def key_updates(key_log: Path, count: int, data: bytes) -> bytes:
    """Return the records of ``count`` KeyUpdates and of ``data`` after them.

    Args:
        key_log: of the client, which has sent nothing after its handshake.
    """
    (line,) = (
        line for line in key_log.read_text().splitlines() if line.startswith("CLIENT_TRAFFIC_")
    )
    return b"".join(_records(bytes.fromhex(line.split()[-1]), count, data))


def _records(secret: bytes, count: int, data: bytes) -> Iterator[bytes]:
    for _ in range(count):
        yield _first_record(secret, _KEY_UPDATE, _HANDSHAKE)
        secret = _expand(secret, b"traffic upd", _HASH().digest_size)
    yield _first_record(secret, data, _APPLICATION_DATA)


def _first_record(secret: bytes, content: bytes, kind: int) -> bytes:
    """Return the first record under a secret (RFC 8446 section 5.2)."""
    key, iv = _expand(secret, b"key", _KEY_SIZE), _expand(secret, b"iv", _IV_SIZE)
    plain = content + bytes((kind,))
    header = struct.pack("!BHH", _APPLICATION_DATA, 0x0303, len(plain) + 16)
    return header + AESGCM(key).encrypt(iv, plain, header)


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 section 7.1), for one block."""
    label = b"tls13 " + label
    info = struct.pack("!HB", size, len(label)) + label + b"\x00\x01"
    return hmac.digest(secret, info, _HASH)[:size]
