"""Who may import whom: the contracts in pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "esps_portal"

# Where time, chance, other tasks and the outside world come from.
PERFORMING = {
    "_socket",
    "_ssl",
    "_thread",
    "asyncio",
    "concurrent",
    "multiprocessing",
    "os",
    "pathlib",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
}
CLOCK_AND_CHANCE = {
    "calendar",
    "datetime",
    "random",
    "sched",
    "secrets",
    "time",
    "uuid",
    "zoneinfo",
}
STANDARD_LIBRARY = set(sys.stdlib_module_names)

PROTOCOL_MAY = {"attrs", "esps_portal.protocol", "esps_portal.tracebacks"} | (
    STANDARD_LIBRARY - PERFORMING - CLOCK_AND_CHANCE
)
# Each may also import what is below it: the layers' contract says which that is.
PURE = ("services", "faults", "journal", "mock")
PURE_MAY = {"attrs", *(f"esps_portal.{room}" for room in ("protocol", "tracebacks", *PURE))} | (
    STANDARD_LIBRARY - PERFORMING
)
# What waits: a built-in service, and a stub.
WAITS = {"builtin.py", "builtin_async.py", "stub_call.py"}
# What writes a recording.
WRITES = {"record_file.py"}


def imported(source: str, package: str) -> Iterator[str]:
    """Yield every module that a module of ``package`` imports, wherever in its text it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base == "esps_portal":  # the submodule is what is meant, not the root
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def trespasses(source: str, package: str, may: set[str]) -> set[str]:
    """Return the imports of a module that are not below one of those it may have."""
    return {
        name
        for name in imported(source, package)
        if not any(f"{name}.".startswith(f"{allowed}.") for allowed in may)
    }


def allowance(module: Path) -> set[str]:
    layer, *below = module.relative_to(PACKAGE).parts
    if layer == "protocol":
        return PROTOCOL_MAY
    if below[-1] in WRITES:
        return PURE_MAY | PERFORMING
    return PURE_MAY | {"trio"} if below[-1] in WAITS else PURE_MAY


INNER_MODULES = sorted(
    module for room in ("protocol", *PURE) for module in PACKAGE.glob(f"{room}/**/*.py")
)


@pytest.mark.parametrize("module", INNER_MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_inner_modules_import_only_what_their_layer_may(module: Path) -> None:
    package = ".".join(module.relative_to(ROOT).parent.parts)
    assert not trespasses(module.read_text(encoding="utf-8"), package, allowance(module))


@pytest.mark.parametrize(
    ("source", "trespass"),
    [
        ("import time", "time"),
        ("import re, socket", "socket"),
        ("from random import random", "random"),
        ("from trio.abc import Stream", "trio.abc"),
        ("def f():\n    import select", "select"),
        ("from esps_portal.server import serve", "esps_portal.server"),
        ("from esps_portal import services", "esps_portal.services"),
        ("from ..client import connect", "esps_portal.client"),
        ("from .. import __version__", "esps_portal.__version__"),
    ],
)
def test_a_trespass_of_the_protocol_is_seen(source: str, trespass: str) -> None:
    assert trespasses(source, "esps_portal.protocol", PROTOCOL_MAY) == {trespass}


@pytest.mark.parametrize(
    "source",
    ["import re", "import attrs", "from . import grammar", "from .errors import ProtocolError"],
)
def test_the_protocol_may_import_its_own(source: str) -> None:
    assert not trespasses(source, "esps_portal.protocol", PROTOCOL_MAY)


def test_the_contracts_are_kept() -> None:
    # In a process of its own: it configures logging, which disables every logger there is.
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout
