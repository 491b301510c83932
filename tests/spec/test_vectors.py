"""The vectors for servers, run against the parser and against a running server."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from esps_portal.conformance.outcome import Verdict
from esps_portal.conformance.registry import load_registry
from esps_portal.conformance.runner import run_vector
from esps_portal.conformance.steps import Vector
from esps_portal.conformance.target import resolve
from esps_portal.conformance.vectors import load_vectors
from esps_portal.protocol.errors import ProtocolError
from esps_portal.protocol.messages import parse_request_untrusted
from tests.processes import RunningServer, running_server
from tests.spec.documents import SPEC, VECTOR_FILES, VECTORS, line_of, vectors_of


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


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


SERVER_VECTORS = [pytest.param(v, id=v.id) for v in load_vectors(SPEC) if not v.limits]


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("vector", SERVER_VECTORS)
async def test_our_server(
    vector: Vector, bytewise: bool, portal: RunningServer
) -> None:  # ESPS-LINE-11
    if bytewise and not vector.bytewise:
        return
    transports = frozenset({vector.transport})
    target = await resolve("127.0.0.1", portal.port, transports, load_registry(SPEC).limits)
    outcome = await run_vector(vector, target, bytewise=bytewise)
    assert outcome.verdict is Verdict.PASS, outcome
