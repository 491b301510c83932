"""The control port as the standard library's client has it, for tests of whole processes."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


def ask(  # noqa: PLR0917 - as curl has them
    url: str, method: str, path: str, value: object = None, token: str = "", host: str = ""
) -> tuple[int, Any]:
    """Ask once; return the status and the value of the answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    if host:
        headers["Host"] = host
    try:
        connection.request(
            method,
            path,
            json.dumps(value if value is not None else {}) * (method in ("POST", "PUT")),
            headers,
        )
        with connection.getresponse() as response:
            return response.status, json.load(response)
    finally:
        connection.close()
