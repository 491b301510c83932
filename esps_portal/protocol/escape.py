"""Makes untrusted bytes and text safe to show on a terminal [ESPS-SEC-5]."""

from __future__ import annotations

_MAX_SHOWN = 60
# The text for each byte; VCHAR and SP stay as they are.
_SHOWN = [f"\\x{byte:02x}" for byte in range(256)]
_SHOWN[0x20:0x7F] = map(chr, range(0x20, 0x7F))
_SHOWN[ord("\\")] = r"\\"
_SHOWN[ord("\n")], _SHOWN[ord("\r")], _SHOWN[ord("\t")] = r"\n", r"\r", r"\t"


def printable(data: bytes, max_bytes: int = _MAX_SHOWN) -> str:
    r"""Return the first ``max_bytes`` of ``data`` as visible ASCII, other bytes as ``\xNN``."""
    shown = "".join(map(_SHOWN.__getitem__, data[:max_bytes]))
    return shown + "..." if len(data) > max_bytes else shown


def visible(text: str) -> str:
    """Return ``text`` with every unprintable character escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def visible_lines(text: str) -> str:
    """Return ``text`` with every unprintable character escaped but the ends of its lines."""
    return "\n".join(map(visible, text.split("\n")))


def shorten(text: str, max_length: int) -> str:
    """Return ``text``, or its start and ``...`` if it has more than ``max_length`` characters."""
    return text if len(text) <= max_length else text[: max_length - 3] + "..."
