"""The public names of the packages are the same for a REPL, a type checker and Python."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ["esps_portal", "esps_portal.testing"]


def for_type_checkers(package: str) -> dict[str, str]:
    """Return each name that a package imports under TYPE_CHECKING, and from where."""
    source = Path(str(importlib.import_module(package).__file__)).read_text(encoding="utf-8")
    (branch,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    found = {}
    for statement in branch.body:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                assert alias.asname == alias.name  # so it is exported
                found[alias.name] = str(statement.module)
    found.pop("TYPE_CHECKING", None)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_and_python_see_the_same_names(package: str) -> None:
    module = importlib.import_module(package)
    names = set(for_type_checkers(package))
    assert set(dir(module)) - {"__version__"} == names
    assert module.__all__ == dir(module) == sorted(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_what_its_module_defines(package: str) -> None:
    for name, home in for_type_checkers(package).items():
        found = getattr(importlib.import_module(package), name)
        if home == package:
            assert found is importlib.import_module(f"{package}.{name}")
        else:
            assert found is getattr(importlib.import_module(home), name)


def test_a_star_import() -> None:
    namespace: dict[str, object] = {}
    exec("from esps_portal.testing import *", namespace)  # noqa: S102 - a star is for modules only
    assert {"ANY", "PortalController", "serve_in_thread"} <= namespace.keys()


COMPLETED = {
    "package.con": "package.connect(",
    "package.bl": "package.blocking",
    "package.testing.serve": "package.testing.serve_in_thread(",
}


@pytest.fixture(scope="module")
def completions() -> dict[str, str]:
    """Return what a REPL makes of each, in a process that has imported nothing else."""
    program = (
        "import json, rlcompleter, esps_portal as package;"
        "complete = rlcompleter.Completer({'package': package}).complete;"
        f"print(json.dumps({{typed: complete(typed, 0) for typed in {list(COMPLETED)}}}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    found: dict[str, str] = json.loads(ran.stdout)
    return found


@pytest.mark.parametrize("typed", COMPLETED)
def test_a_repl_completes_names_that_are_not_imported_yet(
    completions: dict[str, str], typed: str
) -> None:
    assert completions[typed] == COMPLETED[typed]


def test_a_wrong_name_is_an_attribute_error_with_a_suggestion() -> None:
    package: object = importlib.import_module("esps_portal")
    with pytest.raises(AttributeError, match=r"module 'esps_portal' has no .*'conect'") as caught:
        package.conect  # type: ignore[attr-defined]  # noqa: B018 - it is asked for, and that is all
    # Python itself makes its suggestion of these.
    assert (caught.value.name, caught.value.obj) == ("conect", package)
