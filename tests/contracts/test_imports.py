"""Which module may import which: the contracts in pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "esps_portal"

# Modules that reach the outside world, or other threads and tasks.
IO_MODULES = {
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
CLOCK_AND_RANDOM = {
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

PROTOCOL_IMPORTS = {
    "attrs",
    "esps_portal.given_numbers",
    "esps_portal.protocol",
    "esps_portal.tracebacks",
} | (STANDARD_LIBRARY - IO_MODULES - CLOCK_AND_RANDOM)
FRAMING_IMPORTS = PROTOCOL_IMPORTS - {"esps_portal.protocol"} | {
    "esps_portal.framings",
    "esps_portal.patterns",
    "esps_portal.suggestions",
}
# Which of these may import which others is in the layers' contract.
PURE = ("services", "exchanges", "faults", "journal", "mock")
PURE_IMPORTS = {
    "attrs",
    "esps_portal.clock",
    "esps_portal.given_numbers",
    "esps_portal.log",
    "esps_portal.suggestions",
    "esps_portal.user_errors",
    "esps_portal.user_functions",
    *(f"esps_portal.{room}" for room in ("exports", "protocol", "framings", "tracebacks", *PURE)),
    "esps_portal.patterns",
} | (STANDARD_LIBRARY - IO_MODULES)
# Modules that wait, with trio: built-in services, and a stub; or that let its cancellation pass.
WAITING_MODULES = {
    "builtin.py",
    "builtin_async.py",
    "replies.py",
    "service_call.py",
    "stub_call.py",
}
# Modules that write a file.
WRITING_MODULES = {"append_file.py", "pcap_file.py", "record_file.py"}
# Modules that name the process.
PROCESS_MODULES = {"statistics.py"}


def imported(source: str, package: str) -> Iterator[str]:
    """Yield every module that a module of ``package`` imports, wherever in its text it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base == "esps_portal":  # the submodule is meant, not the root
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def forbidden_imports(source: str, package: str, may: set[str]) -> set[str]:
    """Return the imports of a module that are not inside a module of ``may``."""
    return {
        name
        for name in imported(source, package)
        if not any(f"{name}.".startswith(f"{allowed}.") for allowed in may)
    }


def allowed_imports(module: Path) -> set[str]:
    layer, *below = module.relative_to(PACKAGE).parts
    if layer == "protocol":
        return PROTOCOL_IMPORTS
    if layer == "framings":
        return FRAMING_IMPORTS
    if below[-1] in WRITING_MODULES:
        return PURE_IMPORTS | IO_MODULES
    if below[-1] in PROCESS_MODULES:
        return PURE_IMPORTS | {"os"}
    return PURE_IMPORTS | {"trio"} if below[-1] in WAITING_MODULES else PURE_IMPORTS


INNER_MODULES = sorted(
    module for room in ("protocol", "framings", *PURE) for module in PACKAGE.glob(f"{room}/**/*.py")
)


def test_inner_modules_import_only_what_their_layer_may() -> None:
    for module in INNER_MODULES:
        package = ".".join(module.relative_to(ROOT).parent.parts)
        source = module.read_text(encoding="utf-8")
        assert not forbidden_imports(source, package, allowed_imports(module)), module


@pytest.mark.parametrize(
    ("source", "forbidden"),
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
def test_a_forbidden_import_of_the_protocol_is_found(source: str, forbidden: str) -> None:
    assert forbidden_imports(source, "esps_portal.protocol", PROTOCOL_IMPORTS) == {forbidden}


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "import trio",
        "from esps_portal.protocol import grammar",
        "from ..protocol.escape import visible",
    ],
)
def test_framings_know_no_clock_no_task_and_no_esps(source: str) -> None:
    assert forbidden_imports(source, "esps_portal.framings", FRAMING_IMPORTS)


@pytest.mark.parametrize(
    "source",
    ["import re", "import attrs", "from . import grammar", "from .errors import ProtocolError"],
)
def test_the_protocol_may_import_its_own(source: str) -> None:
    assert not forbidden_imports(source, "esps_portal.protocol", PROTOCOL_IMPORTS)


def test_the_contracts_are_kept() -> None:
    # In a process of its own: it configures logging, which disables all loggers.
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout


def test_a_portal_starts_without_pytest() -> None:
    code = "import sys, esps_portal.net.quiet; sys.exit('pytest' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_portal_that_nobody_scripts_starts_without_what_that_takes() -> None:
    code = """
import sys, trio
import esps_portal.cli.reports, esps_portal.cli.serve
from esps_portal import ServerConfig, serve

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, ServerConfig(port=0))
        nursery.cancel_scope.cancel()

trio.run(main)
scripting = ("mock.scripted", "faults.effects", "journal.journal", "patterns.linear")
print([name for name in scripting if f"esps_portal.{name}" in sys.modules])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
