"""The description of the control port: OpenAPI 3.1.

``openapi.json`` has the endpoints of a server, which are also those below ``/proxies/{name}`` and
``/peers/{name}``, and the values that it returns. The keys of a scenario are those of the schema of
scenario files.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from importlib import resources
from typing import Any

from esps_portal import __version__
from esps_portal.mock.scenario_schema import scenario_schema

#: The servers that a control port starts beside the main one.
KINDS = ("proxies", "peers")


@functools.cache
def openapi(kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return the document.

    Args:
        kinds: the servers that are started beside the main one, such as ``proxies``.
    """
    text = (resources.files("esps_portal.control") / "openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    document["info"]["version"] = __version__
    schema = scenario_schema()
    definitions = schema.pop("$defs")
    schema.pop("$schema")
    document["components"]["schemas"] |= _moved({**definitions, "Scenario": schema})
    document["paths"] |= _below(document["paths"], kinds)
    return document


def _moved(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return schemas whose references say where they are in the document."""
    text = json.dumps(schemas).replace('"#/$defs/', '"#/components/schemas/')
    moved: dict[str, Any] = json.loads(text)
    return moved


# The schemas of the servers of a kind, which replace those of the portal.
_OWN_VALUES = {
    "proxies": {"Scenario": "ProxyScenario"},
    "peers": {
        "PlacedStub": "PlacedFrameStub",
        "Stub": "FrameStub",
        "Scenario": "PeerScenario",
    },
}
# The kinds of servers that answer by themselves, and so have stubs.
_WITH_STUBS = {"peers"}


def _below(paths: dict[str, Any], kinds: Iterable[str]) -> dict[str, Any]:
    """Return the endpoints of the servers of these kinds."""
    found: dict[str, Any] = {}
    for kind in kinds:
        own = {"version", "openapi.json", *_OWN_VALUES}
        if kind not in _WITH_STUBS:
            own |= {"stubs", "push"}
        text = json.dumps({p: item for p, item in paths.items() if p.split("/")[1] not in own})
        for portals, own_value in _OWN_VALUES[kind].items():
            text = text.replace(f'schemas/{portals}"', f'schemas/{own_value}"')
        for path, item in json.loads(text).items():
            name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
            item["parameters"] = [name, *item.get("parameters", ())]
            for operation in item.values():
                if isinstance(operation, dict):
                    operation["operationId"] += f"Of{kind.capitalize()}"
            found[f"/{kind}/{{name}}{path}"] = item
    return found
