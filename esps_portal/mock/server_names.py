"""The names of the proxies and peers of a scenario, and of the variables that a command gets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from esps_portal.journal.values import ScenarioError, wrong_value
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
NAME_FORM = "a name (a letter, then up to 63 letters, digits, - . _)"


class Named(Protocol):
    """A proxy or a peer of a scenario."""

    @property
    def name(self) -> str:
        """Its name."""


_NamedT = TypeVar("_NamedT", bound=Named)


def choose_plan(
    plans: Sequence[_NamedT], kind: str, name: str | None = None
) -> tuple[_NamedT, str]:
    """Return one of the proxies, or of the peers, of a scenario, and its path there.

    Args:
        kind: what the scenario calls them: ``proxies`` or ``peers``.
        name: of the one; ``None``: the only one.

    Raises:
        ScenarioError: there is none, or none with that name, or there are several.
    """
    names = [plan.name for plan in plans]
    if not names:
        raise ScenarioError(kind, "there are none in the file")
    if name is None and len(names) > 1:
        raise ScenarioError(kind, f"there are several: give the name {' or '.join(names)}")
    if name not in (None, *names):
        raise ScenarioError(kind, f"there is no {name!r}, but {', '.join(names)}")
    number = 0 if name is None else names.index(name)
    return plans[number], f"{kind}[{number}]"


def is_server_name(text: str) -> bool:
    """Whether a proxy or a peer may have this name."""
    return _NAME.fullmatch(text) is not None


def variable_part(name: str) -> str:
    """Return the middle part of the names of a server's variables: ``CACHE_1``."""
    return re.sub(r"[-.]", "_", name).upper()


def same_variables(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names whose variables are the same; ``None``: there are none."""
    seen: dict[str, str] = {}
    for name in names:
        part = variable_part(name)
        if part in seen:
            return seen[part], name
        seen[part] = name
    return None


def check_names(names: Mapping[str, str]) -> None:
    """Check that the names of proxies and peers have variables of their own.

    Args:
        names: by the path of each, for an error.

    Raises:
        ScenarioError: two have the same.
    """
    seen: dict[str, str] = {}
    for path, name in names.items():
        part = variable_part(name)
        first = seen.get(part)
        if first is not None:
            text = f"{name!r} is used before" if first == name else f"too close to {first!r}"
            raise ScenarioError(
                path, f"{text}: both would be ESPS_PORTAL_{part}_HOST for a command"
            )
        seen[part] = name


def read_server_name(value: object, path: str) -> str:
    """Return the name of a proxy or a peer.

    Raises:
        ScenarioError: it is not a name.
    """
    if not isinstance(value, str) or not is_server_name(value):
        raise wrong_value(path, NAME_FORM, value)
    return value
