"""The vectors of the codec, as conversations with a server.

A line that is a request is sent as a PING, whose reply has its arguments in canonical form, or with
a verb that no server knows. A line that is not a request must be answered with its error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from esps_portal.conformance.steps import (
    FIRST,
    Expect,
    ExpectedLine,
    Open,
    Send,
    Silence,
    Step,
    Vector,
)
from esps_portal.conformance.template import literal

_MAX_TAG = 32
_NO_TAG_SIGNS = {ord(sign): None for sign in "-._"}
_AMPLIFICATION = 3


def of_codec(table: Mapping[str, Any]) -> Iterator[Vector]:
    """Yield what a vector of the codec says about a server, over TCP and, if it can, over UDP."""
    line = bytes.fromhex(table["hex"]) if "hex" in table else table["line"].encode()
    send = literal(line.decode("latin-1") + "\n")
    answer = _answer_of_codec(table, line)
    for transport in ("tcp", "udp"):
        expect: Step = Expect(FIRST, (ExpectedLine(answer),))
        if transport == "udp" and _is_silent(answer, line):
            expect = Silence(FIRST)
        steps: list[Step] = [Send(FIRST, send), expect]
        yield Vector(
            f"{table['id']}-{transport}",
            tuple(table["requirements"]),
            table["level"],
            transport,
            tuple(steps if transport == "udp" else [Open(FIRST), *steps]),
            bytewise=transport == "tcp",
        )


def _is_silent(answer: str, line: bytes) -> bool:
    """Whether a server is silent over UDP: no tag can be read, or even the code does not fit."""
    shortest = len(answer.removesuffix(" {text}")) + 1
    return answer.startswith("*") or shortest > _AMPLIFICATION * (len(line) + 1)


def _answer_of_codec(table: Mapping[str, Any], line: bytes) -> str:
    """Return the pattern of the reply to a line of the codec."""
    if "error" in table:
        return f"{_tag_or_star(line)} ERR {table['error']} {{text}}"
    canonical = table.get("canonical", table.get("line", "")).split(" ")
    if table["verb"] != "PING":
        return f"{table['tag']} ERR unknown-verb {{text}}"
    return literal(" ".join([table["tag"], "OK", *canonical[2:]]))


def _tag_or_star(line: bytes) -> str:
    """Return the tag that a server can read from a rejected line; else a star (section 5)."""
    tag = line.removesuffix(b"\r").split(b" ")[0].decode("latin-1")
    plain = tag.isascii() and tag.translate(_NO_TAG_SIGNS).isalnum()
    return tag if plain and len(tag) <= _MAX_TAG else "*"
