"""A stranger's bytes, as text that is safe to show on a terminal [ESPS-SEC-5]."""

from __future__ import annotations

_LONGEST = 60


def printable(data: bytes, longest: int = _LONGEST) -> str:
    r"""Return ``data`` as visible ASCII, the rest as ``\xNN``, cut off after ``longest`` bytes."""
    shown = "".join(map(_octet, data[:longest]))
    return shown + "..." if len(data) > longest else shown


def visible(text: str) -> str:
    """Return ``text`` with control characters and everything unprintable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _octet(octet: int) -> str:
    if octet == ord("\\"):
        return r"\\"
    known = {0x0A: r"\n", 0x0D: r"\r", 0x09: r"\t"}.get(octet)
    if known is not None:
        return known
    return chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02x}"  # noqa: PLR2004 - VCHAR and SP
