"""The fixtures that start servers: each is to be called, and is no server itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from esps_portal.no_attributes import NoAttributes
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Arguments = ParamSpec("_Arguments")
_Started = TypeVar("_Started")


class Factory(NoAttributes, Generic[_Arguments, _Started]):
    """A function that starts a server. Used as if it were the server, it says how to start one.

    Args:
        start: the function.
        example: how it is called and what it returns: ``peer = esps_peer(lines())``.
    """

    def __init__(self, start: Callable[_Arguments, _Started], example: str) -> None:
        self._start = start
        self._example = example

    def __call__(self, *args: _Arguments.args, **options: _Arguments.kwargs) -> _Started:
        """Start one."""
        return self._start(*args, **options)

    def __repr__(self) -> str:
        return f"<call it: {self._example}>"

    def _how_to_get(self, name: str) -> str:
        server, _, call = self._example.partition(" = ")
        fixture = call.partition("(")[0]
        return (
            f"{fixture} has no {name!r}: it starts a {server}; write {self._example},"
            f" then {server}.{name}"
        )
