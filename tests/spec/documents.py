"""The files under ``spec/``, read once: the text of the specification and its test vectors."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

SPEC = Path(__file__).resolve().parents[2] / "spec"
TEXT = (SPEC / "esps-1.md").read_text(encoding="utf-8")
VECTOR_FILES = sorted((SPEC / "vectors").glob("*.toml"))
VECTORS: list[dict[str, Any]] = [
    vector
    for file in VECTOR_FILES
    for vector in tomllib.loads(file.read_text(encoding="utf-8"))["vector"]
]


def vectors_of(kind: str) -> list[Any]:
    """Return the parameters of a test: the vectors whose identifiers begin with a kind."""
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["id"].startswith(f"{kind}-")]


def line_of(vector: dict[str, Any]) -> bytes:
    """Return the line that a vector of the codec is about."""
    return bytes.fromhex(vector["hex"]) if "hex" in vector else str(vector["line"]).encode()
