"""Each requirement of the specification is cited by what tests it: a vector or a test.

A test cites it in a comment or a docstring; a vector in `requirements`.
"""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.spec.documents import TEXT, VECTORS

ROOT = Path(__file__).resolve().parents[2]
LEVELS = dict(
    re.findall(
        r"^- \[(ESPS-[A-Z]+-[0-9]+)\].*?\b(MUST|SHOULD|MAY)\b", TEXT, re.MULTILINE | re.DOTALL
    )
)
IDENTIFIER = re.compile(r"ESPS-[A-Z]+-[0-9]+")

# What nothing tests yet, and why.
EXEMPT: dict[str, str] = {}

TEST_FILES = sorted(
    file for file in (ROOT / "tests").rglob("*.py") if file.resolve() != Path(__file__).resolve()
)


def remarks(source: str) -> Iterator[str]:
    """Yield the comments and the docstrings of a module."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


@functools.cache
def citations() -> dict[str, set[str]]:
    """Return where each identifier is cited, known or not."""
    found: dict[str, set[str]] = {}
    for file in TEST_FILES:
        source = file.read_text(encoding="utf-8")
        if not IDENTIFIER.search(source):
            continue  # do not parse it
        for remark in remarks(source):
            for identifier in IDENTIFIER.findall(remark):
                found.setdefault(identifier, set()).add(str(file.relative_to(ROOT)))
    for vector in VECTORS:
        for identifier in vector["requirements"]:
            found.setdefault(identifier, set()).add(vector["id"])
    return found


def test_each_requirement_is_cited() -> None:
    cited = citations()
    assert [name for name in LEVELS if name not in cited and name not in EXEMPT] == []


def test_what_is_cited_exists() -> None:
    unknown = {name: places for name, places in citations().items() if name not in LEVELS}
    assert unknown == {}


def test_what_the_code_cites_exists() -> None:
    files = [*(ROOT / "esps_portal").rglob("*.py"), *ROOT.glob("*.md")]
    cited = {name for file in files for name in IDENTIFIER.findall(file.read_text("utf-8"))}
    assert cited <= set(LEVELS)


def test_no_exemption_is_stale() -> None:
    assert set(EXEMPT) <= set(LEVELS)
    assert set(EXEMPT).isdisjoint(citations())


def test_a_vector_has_the_level_of_what_it_cites() -> None:
    for vector in VECTORS:
        cited = {LEVELS[name].lower() for name in vector["requirements"]}
        assert vector["level"] in cited, vector["id"]
