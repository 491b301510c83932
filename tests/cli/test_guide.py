"""``esps-portal guide``: the guides in the package."""

from __future__ import annotations

import pytest

from esps_portal.guides import GUIDES, guide_text
from tests.commands import run


def test_the_list_has_each_guide_within_80_columns() -> None:
    code, listed, _ = run("guide")
    lines = listed.splitlines()
    assert code == 0
    assert [line.split()[0] for line in lines] == list(GUIDES)
    assert max(map(len, lines)) < 80


@pytest.mark.parametrize("name", list(GUIDES))
def test_a_guide_is_printed_as_it_is(name: str) -> None:
    assert run("guide", name) == (0, guide_text(name), "")


def test_an_unknown_guide() -> None:
    code, printed, error = run("guide", "cookbok")
    assert (code, printed) == (2, "")
    assert "cookbook" in error
