"""A proxy of a scenario: the ``[[proxies]]`` of a file."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs

from esps_portal.framings.framing import Framing
from esps_portal.journal.values import ValueTable, read_list, read_text
from esps_portal.mock.framing_values import framing_to_value, read_framing
from esps_portal.mock.planned_fault import PlannedFault, fault_to_values, read_fault
from esps_portal.mock.server_names import read_server_name
from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame

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
        name=table.required("name", read_server_name),
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
            values[key] = framing_to_value(framing, f"{path}.{key}")
    faults = [fault_to_values(f, f"{path}.faults[{n}]") for n, f in enumerate(proxy.faults)]
    return values | {"faults": faults} if faults else values
