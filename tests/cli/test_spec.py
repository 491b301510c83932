"""``esps-portal spec``: the files of the specification."""

from __future__ import annotations

from pathlib import Path

from tests.commands import run


def test_spec() -> None:
    folder = Path(run("spec", "--path")[1].strip())
    for args, file in (
        (["spec"], "esps-1.md"),
        (["spec", "abnf"], "esps-1.abnf"),
        (["spec", "registry"], "registry.toml"),
    ):
        assert run(*args)[1] == (folder / file).read_text(encoding="utf-8")
