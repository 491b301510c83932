"""The public names of a package, each imported when first used; and those of an object.

So neither a command that needs no network, nor a test suite that has the pytest plugin without
using it, waits for trio.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping

# If a name does not exist, pytest shows the line that asked for it, not this module.
__tracebackhide__ = True


def lazy_exports(
    package: str, homes: Mapping[str, str], *own: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: its ``__name__``.
        homes: for each public name the module that defines it, relative to ``esps_portal``;
            ``""`` for a submodule of the package.
        own: further public names, which the package defines itself.
    """
    public = sorted([*homes, *own])

    def import_name(name: str) -> object:
        home = homes.get(name)
        if home is None:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[package])
        if not home:
            return importlib.import_module(f"{package}.{name}")
        found = getattr(importlib.import_module(f"esps_portal.{home}"), name)
        # From now on Python finds it in the package, and does not ask here again.
        setattr(sys.modules[package], name, found)
        return found

    return import_name, lambda: list(public), public


def public_names(value: object, known_as: type | None = None) -> list[str]:
    """Return the public attributes of an object, for its ``__dir__``: a REPL completes them.

    Args:
        known_as: its class as users know it; what a subclass adds is left out.
    """
    names = object.__dir__(value) if known_as is None else {*dir(known_as), *vars(value)}
    return [name for name in names if not name.startswith("_")]
