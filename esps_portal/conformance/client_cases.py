"""The cases for clients: what a server sends, to see how the client reacts.

They are read from ``spec/vectors/clients.toml``; the head of that file says what each key means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources.abc import Traversable
from typing import Any, Literal, TypeAlias

import attrs

from esps_portal.conformance.steps import Vector

GREETING = "* ESPS/1 check/1\n"


@attrs.frozen
class Say:
    """Send text: over UDP, one datagram.

    Attributes:
        bytewise: each byte alone (TCP).
        other: from another port than the one that was asked (UDP).
    """

    text: str
    bytewise: bool = False
    other: bool = False


@attrs.frozen
class Wait:
    """Do nothing for some seconds."""

    seconds: float


@attrs.frozen
class Close:
    """Close the connection (TCP)."""

    how: Literal["fin", "rst"]


Action: TypeAlias = Say | Wait | Close


@attrs.frozen
class ClientCase:
    """One behaviour of a server, and how a client has to react.

    Attributes:
        vector: its name, its requirements, and the transport.
        greeting: what is sent at once (TCP).
        replies: what is done when the request comes; over UDP for each datagram, in this order.
        result: the client prints the reply and exits with 0; or it prints none, and fails.
        asked: whether it has to send its request.
        seconds: in which it has to end.
    """

    vector: Vector
    replies: tuple[tuple[Action, ...], ...]
    result: Literal["reply", "error"]
    greeting: str = GREETING
    asked: bool = True
    seconds: float = 15.0


def load_client_cases(folder: Traversable) -> list[ClientCase]:
    """Return the cases of a folder ``spec``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not TOML.
    """
    text = (folder / "vectors" / "clients.toml").read_text(encoding="utf-8")
    return [_case(table) for table in tomllib.loads(text)["vector"]]


def _case(table: Mapping[str, Any]) -> ClientCase:
    vector = Vector(
        table["id"],
        tuple(table["requirements"]),
        table["level"],
        table["transport"],
        (),
        bytewise=False,
    )
    given = {name: table[name] for name in ("greeting", "asked", "seconds") if name in table}
    replies = tuple(_actions(actions) for actions in table["replies"])
    return ClientCase(vector, replies, table["result"], **given)


def _actions(tables: Sequence[str | Mapping[str, Any]]) -> tuple[Action, ...]:
    return tuple(_action(table) for table in tables)


def _action(table: str | Mapping[str, Any]) -> Action:
    if isinstance(table, str):
        return Say(table)
    if "pause" in table:
        return Wait(table["pause"])
    if "close" in table:
        return Close(table["close"])
    return Say(table["say"], table.get("bytewise", False), table.get("other", False))
