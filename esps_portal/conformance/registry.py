"""What the registry of the specification says: the defaults of limits, the built-in services."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources.abc import Traversable

import attrs


@attrs.frozen
class Registry:
    """What a runner needs of it.

    Attributes:
        limits: the default of each limit of section 10, by its name.
        services: the names of the services of section 11.
    """

    limits: Mapping[str, float]
    services: frozenset[str]


def load_registry(folder: Traversable) -> Registry:
    """Read the registry of a folder ``spec``.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML.
    """
    tables = tomllib.loads((folder / "registry.toml").read_text(encoding="utf-8"))
    return Registry(
        {entry["name"]: entry["default"] for entry in tables["limit"]},
        frozenset(entry["name"] for entry in tables["service"]),
    )
