"""The examples in other languages, run as their first lines say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMMAND = str(Path(sys.executable).parent / "esps-portal")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "run", "--", *command],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.heavy
def test_a_suite_in_node(tool: Callable[[str], str]) -> None:
    ran = run(HERE, tool("node"), "--test", "--test-reporter=tap", "shop.test.mjs")
    assert ran.returncode == 0, ran.stdout
    counts = dict(re.findall(r"(?m)^# (\w+) (\d+)$", ran.stdout))
    assert (counts["tests"], counts["pass"], counts["fail"]) == ("8", "8", "0")
    assert ran.stderr == ""


@pytest.mark.heavy
def test_a_script_in_the_shell(tool: Callable[[str], str], tmp_path: Path) -> None:
    tool("nc")
    tool("curl")
    ran = run(tmp_path, tool("sh"), str(HERE / "shop.sh"))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines() == [
        "ok - a stub is placed",
        "ok - and answers",
        "ok - all is as it should be",
        "ok - a fault is placed",
        "ok - it resets the connection",
        "ok - once",
        "ok - three calls came",
        "ok - a call that nobody expected",
        "ok - is a problem",
    ]
    assert ran.stderr == ""
