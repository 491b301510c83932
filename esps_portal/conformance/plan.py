"""Which vectors run against a server, and which do not apply to it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from esps_portal.conformance.steps import Fin, Send, Shutdown, Urgent, Vector
from esps_portal.conformance.survey import Survey
from esps_portal.conformance.target import Target

# A vector that repeats a step as often as a limit allows is for limits of a usual size.
MAX_REPEATS = 4096

_CALLED = re.compile(r"CALL ([a-z]+)")


@attrs.frozen
class Case:
    """A vector, in one form.

    Attributes:
        form: ``bytewise``: each byte is sent alone.
    """

    vector: Vector
    form: Literal["whole", "bytewise"] = "whole"


def cases(vectors: Sequence[Vector]) -> Iterator[Case]:
    """Yield each vector in each of its forms."""
    for vector in vectors:
        yield Case(vector)
        if vector.bytewise:
            yield Case(vector, "bytewise")


def why_unsupported(vector: Vector, target: Target, found: Survey, builtin: frozenset[str]) -> str:
    """Return why a server cannot be asked a vector; empty if it can.

    Args:
        builtin: the names of the services of section 11.
    """
    if vector.transport not in target.transports:
        return f"not tested over {vector.transport.upper()}"
    for name, value in vector.limits.items():
        if target.limits[name] != value:
            return f"needs a server with {name}={value:g}"
    steps = {type(step) for step in vector.steps}
    if target.process == 0 and Shutdown in steps:
        return "needs a server that can be ended (--server)"
    if target.tls is not None and Fin in steps:
        return "over TLS the client's end ends both directions"
    if target.tls is not None and Urgent in steps:
        return "over TLS no octet is urgent"
    return _why_not_called(vector, target, found, builtin)


def _why_not_called(vector: Vector, target: Target, found: Survey, builtin: frozenset[str]) -> str:
    """Return why a server cannot be asked what a vector calls; empty if it can."""
    for name in called(vector) & builtin:
        if found.services is not None and name not in found.services:
            return f"needs the service {name}"
    for step in vector.steps:
        repeat = step.repeat if isinstance(step, Send) else 1
        if isinstance(repeat, str) and target.limits[repeat] > MAX_REPEATS:
            return f"{repeat} is more than {MAX_REPEATS}"
    return ""


def called(vector: Vector) -> frozenset[str]:
    """Return the names of the services that a vector calls."""
    return frozenset(
        name
        for step in vector.steps
        if isinstance(step, Send)
        for name in _CALLED.findall(step.data)
    )
