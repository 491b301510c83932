"""Puts the bytes of each side of each connection together again, from a recording of units."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from esps_portal.journal.values import bytes_from_value

#: The client's address and port, and the side that sent the bytes.
Key = tuple[str, int, str]


def joined(lines: Iterable[str]) -> dict[Key, bytes]:
    """Return what each side has sent on each connection, by the lines of a recording."""
    found: dict[Key, bytes] = {}
    for value in units(lines):
        host, port = value["remote"]
        key = host, port, value["from"]
        found[key] = found.get(key, b"") + bytes_from_value(value["data"])
    return found


def units(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return the values of each line that is a unit, or a part of one."""
    return [value for value in map(json.loads, lines) if value["event"] == "unit"]
