"""``esps-portal deploy``: files printed or written."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from esps_portal.deployment.kinds import KINDS
from tests.commands import run


def test_the_kinds_are_listed() -> None:
    code, out, err = run("deploy")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == list(KINDS)
    assert [tuple(line.split()) for line in lines[1::2]] == [kind.files for kind in KINDS.values()]


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_printed_after_its_name(kind: str) -> None:
    code, out, err = run("deploy", kind)
    assert (code, err) == (0, "")
    expected = [f"# file: {file}\n{KINDS[kind].read(file)}" for file in KINDS[kind].files]
    assert out == "".join(expected)


def test_each_file_of_the_package_belongs_to_its_kind() -> None:
    folder = Path(str(resources.files("esps_portal.deployment")))
    data = {p for p in folder.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}}
    assert data == {folder / kind.name / file for kind in KINDS.values() for file in kind.files}


def test_files_are_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "units"
    kind = KINDS["systemd"]
    code, out, _ = run("deploy", "systemd", "--write", str(folder))
    assert code == 0
    assert out == "".join(f"wrote {folder / file}\n" for file in kind.files)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == {
        file: kind.read(file) for file in kind.files
    }


@pytest.mark.parametrize("kept", ["a file", "a link to nothing"])
def test_nothing_is_replaced_without_force(tmp_path: Path, kept: str) -> None:
    last = tmp_path / KINDS["systemd"].files[-1]
    target = tmp_path / "target"
    if kept == "a file":
        last.write_text("mine")
    else:
        last.symlink_to(target)
    code, out, err = run("deploy", "systemd", "--write", str(tmp_path))
    assert (code, out) == (1, "")
    assert err == f"esps-portal: {last} exists; replace it with --force\n"
    assert list(tmp_path.iterdir()) == [last], "none is written"
    assert run("deploy", "systemd", "--write", str(tmp_path), "--force")[0] == 0
    assert last.read_text(encoding="utf-8") == KINDS["systemd"].read(last.name)


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "folder"
    assert run("deploy", "systemd", "--write", str(folder)) == (
        1,
        "",
        f"esps-portal: cannot write {folder}: Not a directory\n",
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["nope"], "'nope' is not"),
        (["--write", "x"], "--write needs a KIND: systemd"),
        (["systemd", "--force"], "--force is for --write DIR"),
    ],
)
def test_bad_usage(args: list[str], says: str) -> None:
    code, out, err = run("deploy", *args)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
