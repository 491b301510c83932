"""The two pages for people: the overview, and the guide, whose steps the runner checks."""

from __future__ import annotations

import re

import pytest

from tests.commands import run
from tests.spec.documents import SPEC

OVERVIEW = (SPEC / "README.md").read_text(encoding="utf-8")
GUIDE = (SPEC / "implementing.md").read_text(encoding="utf-8")
STEPS = re.findall(r"^## Step (\d+): .*?\n(.*?)(?=^## )", GUIDE, re.MULTILINE | re.DOTALL)
SECTIONS = re.findall(r"--section (\S+)", GUIDE)


def test_the_overview_shows_a_transcript_that_is_run() -> None:
    (shown,) = re.findall(r"```transcript\n(.*?)```", OVERVIEW, re.DOTALL)
    assert shown == (SPEC / "transcripts" / "first-page.txt").read_text(encoding="ascii")


def test_the_overview_fits_a_screen_or_two() -> None:
    assert len(OVERVIEW.splitlines()) <= 80


def test_the_overview_names_each_file() -> None:
    names = {path.name for path in SPEC.iterdir()} - {"README.md"}
    assert [name for name in names if name not in OVERVIEW] == []


def test_the_guide_has_ten_steps() -> None:
    assert [int(number) for number, _ in STEPS] == list(range(1, 11))


@pytest.mark.parametrize(("number", "text"), STEPS)
def test_each_step_has_a_command_that_checks_it(number: str, text: str) -> None:
    assert "esps-portal conformance " in text, number


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_that_the_guide_names_has_vectors(section: str) -> None:
    code, out, _ = run("conformance", "--list", "--section", section)
    assert code == 0
    assert len(out.splitlines()) > 1
