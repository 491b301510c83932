"""Makes untrusted bytes and text safe to show on a terminal [ESPS-SEC-5]."""

from __future__ import annotations

_MAX_SHOWN = 60


def printable(data: bytes, max_bytes: int = _MAX_SHOWN) -> str:
    r"""Return the first ``max_bytes`` of ``data`` as visible ASCII, other bytes as ``\xNN``."""
    shown = "".join(map(_escape_byte, data[:max_bytes]))
    return shown + "..." if len(data) > max_bytes else shown


def visible(text: str) -> str:
    """Return ``text`` with every unprintable character escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shorten(text: str, max_length: int) -> str:
    """Return ``text``, or its start and ``...`` if it has more than ``max_length`` characters."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."


def _escape_byte(byte: int) -> str:
    named = {0x5C: r"\\", 0x0A: r"\n", 0x0D: r"\r", 0x09: r"\t"}.get(byte)
    if named is not None:
        return named
    return chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}"  # noqa: PLR2004 - VCHAR and SP
