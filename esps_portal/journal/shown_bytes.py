"""Bytes of any protocol in readable form: as text if they are text, else hex with an ASCII column.

No byte reaches a terminal or a log unescaped.
"""

from __future__ import annotations

from esps_portal.protocol.escape import printable, shorten, visible

#: In place of the bytes of what has none: an empty datagram, or a frame without a payload.
EMPTY = "(empty)"
# Bytes of a line of hex (hexdump -C).
_PER_LINE = 16
_MAX_SHOWN = 60
_CONTROLS = "\t\r\n"


def is_text(data: bytes) -> bool:
    """Whether a person reads bytes as text: UTF-8 without control characters but tab, CR and LF."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        # The start of a longer text may end within a character.
        if error.end < len(data) or error.reason != "unexpected end of data":
            return False
        text = data[: error.start].decode()
    return all(char.isprintable() or char in _CONTROLS for char in text)


def shown_in_line(data: bytes, max_bytes: int = _MAX_SHOWN) -> str:
    """Return the first bytes in one line: as text, with escapes where most of it is, or as hex."""
    kept = data[:max_bytes]
    if is_text(kept) and not kept.isascii():
        return shorten(visible(data.decode("utf-8", "replace")), max_bytes)
    visible_bytes = sum(0x20 <= byte < 0x7F for byte in kept)  # noqa: PLR2004 - ASCII
    if is_text(kept) or 2 * visible_bytes > len(kept):
        return printable(data, max_bytes)
    text = kept.hex(" ")
    return f"{text} ..." if len(data) > max_bytes else text


def shown_in_lines(data: bytes, max_bytes: int = _MAX_SHOWN) -> list[str]:
    """Return the first bytes: text in a line, else lines of hex with an ASCII column."""
    if is_text(data[:max_bytes]):
        return [shown_in_line(data, max_bytes)]
    kept = data[:max_bytes]
    lines = [_hex_line(kept[start : start + _PER_LINE]) for start in range(0, len(kept), _PER_LINE)]
    return [*lines, "..."] if len(data) > max_bytes else lines


def _hex_line(data: bytes) -> str:
    """Return up to 16 bytes in hex, and what each is in ASCII."""
    first, second = data[:8].hex(" "), data[8:].hex(" ")
    column = "".join(c if c.isascii() and c.isprintable() else "." for c in data.decode("latin-1"))
    return f"{first:<23}  {second:<23}  |{column}|"
