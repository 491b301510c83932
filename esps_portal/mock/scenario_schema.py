"""The JSON Schema of scenario files, for editors and for programs in other languages."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def scenario_schema() -> dict[str, Any]:
    """Return the schema: JSON Schema, draft 2020-12.

    It does not check what depends on several keys, or on where a scenario is used; readers do.
    """
    text = resources.files("esps_portal.mock").joinpath("scenario.schema.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
