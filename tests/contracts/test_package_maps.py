"""The docstring of each package is a map of it: every module that it names is there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import esps_portal
from tests.cases import cases

ROOT = Path(esps_portal.__file__).parent
PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py"))
# One pair of backticks: a module below the package or below the root, or what is in one.
NAMED = re.compile(r"(?<!`)`([a-z_][\w.]*)`(?!`)", re.IGNORECASE)


def is_there(name: str, package: str) -> bool:
    for start in (package, "esps_portal"):
        module, attributes = f"{start}.{name}", ""
        for _ in range(2):
            try:
                found = importlib.import_module(module)
            except ModuleNotFoundError:
                module, _, attributes = module.rpartition(".")
                continue
            return not attributes or hasattr(found, attributes)
    return False


@cases("folder", PACKAGES)
def test_what_the_map_of_a_package_names_is_there(folder: Path) -> None:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    package = ".".join(["esps_portal", *folder.relative_to(ROOT).parts])
    missing = [name for name in NAMED.findall(text or "") if not is_there(name, package)]
    assert not missing
