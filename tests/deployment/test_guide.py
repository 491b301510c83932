"""The guide spec/deployment.md: its commands are run, and its tables are what the code has."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.deployment.kinds import KINDS
from esps_portal.metrics.collector import PortalMetrics
from tests.commands import run
from tests.processes import RunningServer, running_server

GUIDE = (Path(__file__).parents[2] / "spec" / "deployment.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"(?m)^```{language}\n((?:(?!```).*\n)*)```$", GUIDE)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works(
    command: str, portal: RunningServer, tool: Callable[[str], str], tmp_path: Path
) -> None:
    if not command.startswith("esps-portal"):
        tool(command.split(maxsplit=1)[0])
    ran = shell(command.replace("2867", str(portal.port)), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    if "2867" in command:
        assert str(portal.port) in ran.stdout
        assert re.search("(?i)tcp", ran.stdout)
        assert re.search("(?i)udp", ran.stdout)


def test_the_guide_is_printed() -> None:
    assert run("spec", "deployment") == (0, GUIDE, "")


def test_every_kind_is_named_and_no_other() -> None:
    assert set(re.findall(r"esps-portal deploy ([a-z]+)", GUIDE)) == set(KINDS)


def test_the_files_that_it_names_exist() -> None:
    named = set(
        re.findall(
            r"\b(?:esps-portal|haproxy)[\w.@-]*\.(?:cfg|conf|socket|service|default)\b", GUIDE
        )
    )
    named = {re.sub("@[0-9]+", "@", name) for name in named}
    assert named <= {file for kind in KINDS.values() for file in kind.files}
    assert len(named) == 7


def test_the_table_of_metrics_is_what_is_exposed() -> None:
    table = re.findall(r"(?m)^\| `(esps_portal_\w+)` \|", GUIDE)
    exposed = PortalMetrics(lambda _: False).expose().decode()
    names = re.findall(r"(?m)^# TYPE (esps_portal_\w+) ", exposed)
    assert sorted(table) == sorted(names)


def test_prometheus_accepts_the_configuration(tool: Callable[[str], str], tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    file = tmp_path / "prometheus.yml"
    file.write_text(text, encoding="utf-8")
    command = [tool("promtool"), "check", "config", "--syntax-only", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
