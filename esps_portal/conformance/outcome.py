"""The outcome of running a vector."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from esps_portal.conformance.traffic import Traffic


class Verdict(enum.StrEnum):
    """The verdict on a vector.

    - ``pass``: the server does what the vector asks for.
    - ``warn``: it does not, and may: the requirement is a SHOULD or a MAY.
    - ``fail``: it does not.
    - ``unsupported``: the server lacks what the vector needs: a service, a limit, a transport.
    - ``error``: the runner could not run it.
    """

    PASS = "pass"  # noqa: S105 - not a password
    WARN = "warn"
    FAIL = "fail"
    UNSUPPORTED = "unsupported"
    ERROR = "error"


#: What was wrong: a line; too early, too late or missing; something came although nothing may;
#: how the connection was closed; the form of a line; or its size over UDP.
Kind: TypeAlias = Literal["line", "time", "silence", "close", "form", "size", "source"]


_MAX_CAME = 4096


class MismatchError(Exception):
    """The server did something else than the vector allows.

    Attributes:
        kind: what was wrong.
        allowed: what was allowed, for a person.
        came: the bytes that came instead, of many the first 4096; empty if it was no bytes.
        came_text: what happened, if it was no bytes.
    """

    def __init__(self, kind: Kind, allowed: str, came: bytes = b"", came_text: str = "") -> None:
        came = came[:_MAX_CAME]
        super().__init__(kind, allowed, came, came_text)
        self.kind = kind
        self.allowed = allowed
        self.came = came
        self.came_text = came_text

    def __str__(self) -> str:
        came = self.came_text or repr(self.came)
        return f"{self.kind}: allowed: {self.allowed}; came: {came}"


class UnsupportedError(Exception):
    """The server, or this machine, lacks what a vector needs."""


@attrs.frozen
class Outcome:
    """The outcome of one run of a vector.

    Attributes:
        vector: its identifier.
        form: ``whole``, or ``bytewise`` where each byte was sent alone.
        mismatch: why it is ``warn`` or ``fail``.
        reason: why it is ``unsupported`` or ``error``.
        closed: how each connection ended that the server ended: ``fin`` or ``rst``.
        close: the verdict on that, where the vector asks for one.
        seconds: how long it took.
    """

    vector: str
    form: Literal["whole", "bytewise"]
    verdict: Verdict
    mismatch: MismatchError | None = None
    reason: str = ""
    closed: Mapping[str, str] = attrs.field(factory=dict)
    close: Verdict | None = None
    seconds: float = 0
    traffic: Traffic | None = None
