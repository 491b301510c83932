"""Whether what was asked and answered is as the OpenAPI document says."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from jsonschema import Draft202012Validator

from esps_portal.control.openapi import KINDS, openapi

DOCUMENT = openapi(KINDS)


def operation_of(method: str, target: str) -> dict[str, Any] | None:
    """Return what the document says of a request; ``None``: it has no such path or method."""
    path = target.partition("?")[0]
    for template, item in DOCUMENT["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get(method.lower())
            return found
    return None


def check_answer(method: str, target: str, status: int, value: object) -> None:
    """Check a reply against its schema."""
    operation = operation_of("GET" if method == "HEAD" else method, target)
    responses = operation["responses"] if operation else {}
    found = responses.get(str(status)) or DOCUMENT["components"]["responses"]["Error"]
    assert status >= 400 or str(status) in responses, (method, target, status)
    _check(found["content"]["application/json"]["schema"], value)


def check_request(method: str, target: str, value: object) -> None:
    """Check a body that was taken."""
    operation = operation_of(method, target)
    assert operation is not None
    body = operation.get("requestBody", {"content": {}})
    if "application/json" in body["content"]:
        _check(body["content"]["application/json"]["schema"], value)


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    # A reference begins at the root of the document.
    return Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def _check(schema: object, value: object) -> None:
    errors = list(_validator(json.dumps(schema)).iter_errors(value))
    assert not errors, (errors[0].message, list(errors[0].absolute_path), value)
