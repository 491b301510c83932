"""The form of all vectors, and those of the codec, run against the parser.

A running server is tested in tests/conformance.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import parse_request_untrusted
from tests.spec.documents import SPEC, VECTOR_FILES, VECTORS, line_of, vectors_of


@pytest.mark.parametrize("file", VECTOR_FILES, ids=lambda file: file.name)
def test_schema(file: Path) -> None:
    schema = json.loads((SPEC / "vectors" / "schema.json").read_text())
    jsonschema.validate(tomllib.loads(file.read_text()), schema)


def test_identifiers_are_unique() -> None:
    assert len({vector["id"] for vector in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("vector", vectors_of("codec"))
def test_codec(vector: dict[str, Any]) -> None:
    line = line_of(vector)
    if "error" in vector:
        with pytest.raises(ProtocolError) as caught:
            parse_request_untrusted(line)
        assert caught.value.code == vector["error"]
        return
    request = parse_request_untrusted(line)
    assert (request.tag.decode(), request.verb.decode()) == (vector["tag"], vector["verb"])
    assert [arg.hex() for arg in request.args] == vector["args_hex"]
    assert request.encode().decode() == vector.get("canonical", vector["line"]) + "\n"
