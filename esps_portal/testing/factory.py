"""What the fixtures are that start servers: to be called first, and not used as a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Never, ParamSpec, TypeVar

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_Arguments = ParamSpec("_Arguments")
_Started = TypeVar("_Started")


class Factory(Generic[_Arguments, _Started]):
    """A function that starts a server, which says so to who uses it as one.

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

    if not TYPE_CHECKING:  # a type checker finds this by itself

        def __getattr__(self, name: str) -> Never:
            __tracebackhide__ = True  # an AttributeError may be a bug of ours, but not here
            if name.startswith("_"):  # asked for by copy and the like, maybe before `__init__`
                raise AttributeError(name)
            server, _, call = self._example.partition(" = ")
            fixture = call.partition("(")[0]
            raise AttributeError(
                f"{fixture} has no {name!r}: it starts a {server}; write {self._example},"
                f" then {server}.{name}"
            )
