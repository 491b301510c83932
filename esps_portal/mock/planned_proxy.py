"""A proxy of a scenario: the ``[[proxies]]`` of a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import attrs

from esps_portal.framings.framing import Framing, FramingError
from esps_portal.framings.parse import parse_framing
from esps_portal.framings.patterns import Matching
from esps_portal.journal.values import (
    ScenarioError,
    ValueTable,
    read_list,
    read_text,
    wrong_value,
)
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values, read_fault
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
NAME_FORM = "a name (a letter, then up to 63 letters, digits, - . _)"
_KEYS = ("name", "upstream", "framing", "reply_framing", "faults")


@attrs.frozen
class PlannedProxy:
    """The plan of a proxy.

    Attributes:
        name: a letter, then letters, digits, ``-``, ``.``, ``_``.
        upstream: where it relays to, as text: ``tcp://127.0.0.1:6379``. It is checked when the
            proxy is started.
        framing, reply_framing: of what the client and the server say; ``None``: not given.
        faults: those that are in force from the start.
    """

    name: str
    upstream: str
    framing: Framing | None = None
    reply_framing: Framing | None = None
    faults: tuple[PlannedFault, ...] = ()


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


def is_proxy_name(text: str) -> bool:
    """Whether a proxy may have this name."""
    return _NAME.fullmatch(text) is not None


def variable_part(name: str) -> str:
    """Return the middle part of the names of a proxy's variables: ``CACHE_1``."""
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


# ---- values ------------------------------------------------------------------------------------


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


def read_proxy(value: object, path: str) -> PlannedProxy:
    """Return one proxy of a scenario.

    Raises:
        ScenarioError: a key is wrong.
    """
    table = ValueTable.of(value, path, _KEYS)
    framing = table.get("framing", read_framing, None)
    if framing is None and "reply_framing" in table.values:
        raise table.error("reply_framing", "give framing as well: it is what the client sends")
    return PlannedProxy(
        name=table.required("name", read_proxy_name),
        upstream=table.required("upstream", read_text),
        framing=framing,
        reply_framing=table.get("reply_framing", read_framing, None),
        faults=table.get("faults", partial(read_list, partial(read_fault, where=None)), ()),
    )


def proxy_to_values(proxy: PlannedProxy, path: str = "") -> dict[str, Any]:
    """Return a proxy as values for TOML or JSON.

    Args:
        path: of the proxy, for an error.

    Raises:
        ScenarioError: a framing or a fault has code in it, which cannot be written.
    """
    values: dict[str, Any] = {"name": proxy.name, "upstream": proxy.upstream}
    for key, framing in (("framing", proxy.framing), ("reply_framing", proxy.reply_framing)):
        if framing is not None:
            values[key] = framing_text(framing, f"{path}.{key}")
    faults = [fault_to_values(f, f"{path}.faults[{n}]") for n, f in enumerate(proxy.faults)]
    return values | {"faults": faults} if faults else values


def framing_text(framing: Framing, path: str) -> str:
    """Return a framing as text, for a file.

    Raises:
        ScenarioError: it is an object of the user's own.
    """
    text = str(framing)
    try:
        if parse_framing(text) == framing:
            return str(_searched_in_one_pass(framing))
    except BoundlessFramingError as error:
        raise ScenarioError(path, str(error)) from error
    except FramingError:
        pass  # a framing of the user's own
    raise ScenarioError(path, f"{framing!r} is an object, which no scenario can hold")


def read_proxy_name(value: object, path: str) -> str:
    """Return the name of a proxy or a peer."""
    if not isinstance(value, str) or not is_proxy_name(value):
        raise wrong_value(path, NAME_FORM, value)
    return value


def read_framing(value: object, path: str) -> Framing:
    """Return a framing, from its text."""
    try:
        return _searched_in_one_pass(parse_framing(read_text(value, path)))
    except FramingError as error:
        raise ScenarioError(path, str(error)) from error


class BoundlessFramingError(FramingError):
    """A framing whose pattern may take unbounded time."""


def _searched_in_one_pass(framing: Framing) -> Framing:
    """Check a framing from a file or a control port: its pattern must take bounded time."""
    if isinstance(framing, Matching) and not framing.is_linear:
        raise BoundlessFramingError(
            f"{framing}: cannot be searched in one pass, which a file and a control port require"
        )
    return framing
