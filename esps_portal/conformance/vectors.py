"""The test vectors for servers, read from ``spec/vectors``: what is sent, and what may come.

`spec/vectors/schema.json` describes the files; the head of ``conversations.toml`` says what each
key means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from esps_portal.conformance.codec_vectors import of_codec
from esps_portal.conformance.steps import (
    FIRST,
    Discarded,
    End,
    Expect,
    ExpectedLine,
    Fin,
    Flood,
    Gone,
    Open,
    Pause,
    Rst,
    Send,
    Shutdown,
    Silence,
    Step,
    Urgent,
    Vector,
)


def load_vectors(folder: Traversable) -> list[Vector]:
    """Return the vectors for servers of a folder ``spec``.

    Raises:
        OSError: a file cannot be read.
        ValueError: a file is not TOML.
    """
    found: list[Vector] = []
    files = [file for file in (folder / "vectors").iterdir() if file.name.endswith(".toml")]
    for file in sorted(files, key=lambda file: file.name):
        for table in tomllib.loads(file.read_text(encoding="utf-8"))["vector"]:
            if "steps" in table:
                found.append(_conversation(table))
            elif table["id"].startswith("codec-"):
                found.extend(of_codec(table))
    return found


def _conversation(table: Mapping[str, Any]) -> Vector:
    transport, hello = table["transport"], table.get("hello", True)
    steps = [_step(step, hello=hello) for step in table["steps"]]
    steps = list(_with_opens(steps, hello=hello)) if transport == "tcp" else steps
    return Vector(
        table["id"],
        tuple(table["requirements"]),
        table["level"],
        transport,
        tuple(steps),
        table.get("limits", {}),
        table.get("bytewise", True) and transport == "tcp",
        table.get("alone", False),
    )


def _with_opens(steps: list[Step], *, hello: bool) -> Iterator[Step]:
    """Yield the steps; a connection that no step opened is opened where it is first used."""
    opened: set[str] = set()
    for step in steps:
        name = "" if isinstance(step, Pause | Shutdown) else step.on
        if name and name not in opened:
            opened.add(name)
            if not isinstance(step, Open):
                yield Open(name, hello=hello)
        yield step


def _step(table: Mapping[str, Any], *, hello: bool) -> Step:
    on = table.get("on", FIRST)
    for key, make in _MAKERS.items():
        if key in table:
            return make(on, table)
    assert table["open"]  # noqa: S101 - by the schema
    return Open(on, **{"hello": hello, **_only(table, "greeting hello below_1024")})


def _send(on: str, table: Mapping[str, Any]) -> Send:
    return Send(on, table["send"], table.get("repeat", 1))


def _expect(on: str, table: Mapping[str, Any]) -> Expect:
    lines = tuple(map(_line, table["expect"]))
    return Expect(on, lines, **_only(table, "in_order at_least at_most repeat"))


def _silence(on: str, table: Mapping[str, Any]) -> Silence:
    return Silence(on, None if table["silence"] is True else table["silence"])


def _end(on: str, table: Mapping[str, Any]) -> End:
    return End(on, table["end"], **_only(table, "discard unread fragment at_least at_most"))


# How to make a step, by the key that says what it does; `open` takes a default from its vector.
_MAKERS: Mapping[str, Callable[[str, Mapping[str, Any]], Step]] = {
    "send": _send,
    "urgent": lambda on, table: Urgent(on, table["urgent"]),
    "expect": _expect,
    "silence": _silence,
    "end": _end,
    "discarded": lambda on, table: Discarded(on, table["discarded"]),
    "gone": lambda on, table: Gone(on, table["at_most"]),
    "flood": lambda on, table: Flood(on, table["flood"]),
    "fin": lambda on, _: Fin(on),
    "rst": lambda on, _: Rst(on),
    "pause": lambda _, table: Pause(table["pause"]),
    "shutdown": lambda *_: Shutdown(),
}


def _only(table: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: table[name] for name in names.split() if name in table}


def _line(value: str | Mapping[str, Any]) -> ExpectedLine:
    if isinstance(value, str):
        return ExpectedLine(value)
    contains = tuple(value.get("contains", ()))
    return ExpectedLine(value["line"], contains, value.get("repeat", 1))
