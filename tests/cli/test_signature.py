"""``esps-portal signature``: what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest

import esps_portal
from esps_portal.signatures import SIGNATURES
from tests.commands import run, run_failing

FOLDER = Path(esps_portal.__file__).parent / "signatures"


@pytest.mark.parametrize("tool", list(SIGNATURES))
def test_the_file_of_a_tool(tool: str) -> None:
    expected = (FOLDER / SIGNATURES[tool].file).read_text(encoding="ascii")
    assert run("signature", tool) == (0, expected, "")


def test_without_a_tool_they_are_listed() -> None:
    code, out, err = run("signature")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(SIGNATURES)


def test_every_file_is_listed() -> None:
    files = {path.name for path in FOLDER.iterdir() if path.suffix not in (".py", ".pyc", "")}
    assert files == {signature.file for signature in SIGNATURES.values()}


def test_merge_is_for_nmap(tmp_path: Path) -> None:
    file = tmp_path / "probes"
    file.write_bytes(b"no probes")
    code, err = run_failing("signature", "recog", "--merge", str(file))
    assert code == 2
    assert "--merge is for nmap only" in err
    code, err = run_failing("signature", "nmap", "--merge", str(file))
    assert code == 1
    assert err.startswith(f"esps-portal: cannot merge with {file}: no line ")
