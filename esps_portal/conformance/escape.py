"""Bytes of a server, made safe to show: as text in visible ASCII, and as hexadecimal digits."""

from __future__ import annotations

_MAX_TEXT = 200  # bytes of a text
_MAX_HEX = 64  # bytes in hexadecimal digits
_NAMED = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x5C: "\\\\"}
_SHOWN = [_NAMED.get(b) or (chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}") for b in range(256)]  # noqa: PLR2004 - SP to "~"


def as_text(data: bytes) -> str:
    """Return bytes as visible ASCII, the others escaped; of many, the first 200."""
    shown = "".join(map(_SHOWN.__getitem__, data[:_MAX_TEXT]))
    return shown + _rest(data, _MAX_TEXT)


def as_hex(data: bytes) -> str:
    """Return bytes as pairs of hexadecimal digits; of many, the first 64."""
    return data[:_MAX_HEX].hex(" ") + _rest(data, _MAX_HEX)


def _rest(data: bytes, shown: int) -> str:
    return f"... ({len(data)} bytes)" if len(data) > shown else ""
