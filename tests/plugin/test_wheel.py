"""The plugin as it is installed: found through the wheel's entry point, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.plugin.suite_runs import SHOP

ROOT = Path(__file__).parents[2]


@pytest.mark.heavy
def test_a_suite_with_the_wheel(tmp_path: Path) -> None:
    built, installed, suite = (tmp_path / name for name in ("built", "installed", "suite"))
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(built)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = built.iterdir()
    with zipfile.ZipFile(wheel) as archive:  # a wheel of Python alone is installed by unpacking it
        archive.extractall(installed)
    suite.mkdir()
    (suite / "conftest.py").write_text(
        "import esps_portal\n"
        "def pytest_report_header(config):\n"
        "    return f'portal of {esps_portal.__file__}'\n"
    )
    (suite / SHOP.name).write_text(SHOP.read_text(encoding="utf-8"))
    # Before the site's packages: what is found first is what is taken, entry points included.
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-Werror", "-pno:cacheprovider", "-pno:asyncio", "."],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"portal of {installed / 'esps_portal'}" in ran.stdout
    assert "esps-portal-0.1.0" in ran.stdout
    assert "2 passed" in ran.stdout
