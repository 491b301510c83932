"""The files of the repository, and what the wheel and the sdist contain."""

from __future__ import annotations

import ast
import email
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from esps_portal.deployment.kinds import KINDS

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "esps_portal").rglob("*.py"))

SPECIFICATION = {"deployment.md", "esps-1.md", "esps-1.abnf", "registry.toml"}
SPECIFICATION_FOLDERS = ("vectors", "transcripts")

# A reader who opens a folder should guess what is in each file.
CATCH_ALL_NAMES = {"base", "bases", "common", "helper", "helpers", "misc", "util", "utils"}

# Where people keep their files on a machine. A URL (example.org/home/x) is not such a place.
HOST_PATH = re.compile(r"(?<![\w.~-])(?:/(?:home|root|work|farm|Users)/[\w.]|[A-Z]:\\Users\\)")


# ---- what is shipped ---------------------------------------------------------------------------


def build(kind: str, source: Path, into: Path) -> Path:
    """Build a distribution with the backend itself: no isolated environment, so no network."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind]
    subprocess.run(
        [*command, "--directory", str(into)], cwd=source, check=True, capture_output=True
    )
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def names_in_sdist(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def specification() -> set[str]:
    """Return the files of ``spec/``, relative to it, after a look that nothing is missing."""
    spec = ROOT / "spec"
    files = {path.relative_to(spec).as_posix() for path in spec.rglob("*") if path.is_file()}
    assert files >= SPECIFICATION
    for folder in SPECIFICATION_FOLDERS:
        assert any(name.startswith(f"{folder}/") for name in files), folder
    return files


def test_the_wheel_carries_the_specification_and_its_vectors(wheel: Path) -> None:
    assert {f"esps_portal/spec/{name}" for name in specification()} <= names_in_wheel(wheel)


@pytest.mark.heavy
def test_the_sdist_carries_the_specification_and_its_vectors(sdist: Path) -> None:
    assert {f"spec/{name}" for name in specification()} <= names_in_sdist(sdist)


def test_the_wheel_carries_every_module_and_nothing_beside_them(wheel: Path) -> None:
    names = names_in_wheel(wheel)
    assert {module.relative_to(ROOT).as_posix() for module in MODULES} <= names
    assert "esps_portal/py.typed" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"esps_portal"}


@pytest.mark.heavy
def test_the_sdist_carries_the_tests_and_makes_the_same_wheel(
    sdist: Path, wheel: Path, tmp_path: Path
) -> None:
    assert f"tests/contracts/{Path(__file__).name}" in names_in_sdist(sdist)
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.iterdir()
    rebuilt = build("wheel", unpacked, tmp_path / "wheel")
    assert names_in_wheel(rebuilt) == names_in_wheel(wheel)


def test_the_wheel_carries_the_files_to_run_a_portal_with(wheel: Path) -> None:
    files = {f"{kind.name}/{file}" for kind in KINDS.values() for file in kind.files}
    assert {f"esps_portal/deployment/{file}" for file in files} <= names_in_wheel(wheel)


def test_the_wheel_has_the_command_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        text = archive.read(entry_points).decode()
    assert "esps-portal = esps_portal.__main__:main" in text
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_the_metadata_for_the_index(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        fields = email.message_from_bytes(archive.read(metadata))
    classifiers = fields.get_all("Classifier", [])
    assert {"Framework :: Pytest", "Framework :: Trio", "Typing :: Typed"} <= set(classifiers)
    tested = re.findall(r"Python :: (3\.\d+)", " ".join(classifiers))
    oldest = (fields["Requires-Python"] or "").removeprefix(">=")
    assert tested[0] == oldest
    assert fields["Description-Content-Type"] == "text/markdown"


def test_a_tool_that_runs_the_command_installs_no_test_tools() -> None:
    """`uv run` installs the group ``dev``: only what is asked for as an extra is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "dev" not in project.get("dependency-groups", {})
    assert not [r for r in project["project"]["dependencies"] if "pytest" in r]


def test_the_specification_is_read_out_of_the_archive(wheel: Path, tmp_path: Path) -> None:
    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "esps_portal", "spec", *args],
            cwd=tmp_path,  # not the checkout, which would be imported first
            env={**os.environ, "PYTHONPATH": str(wheel)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    for part, name in (("text", "esps-1.md"), ("registry", "registry.toml")):
        assert run(part).stdout == (ROOT / "spec" / name).read_text(encoding="utf-8")
    refused = run("--path")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert f"the files are inside an archive, {wheel}/esps_portal/spec" in refused.stderr


# ---- what is in the repository -----------------------------------------------------------------


@pytest.fixture(scope="module")
def repository_files(tool: Callable[[str], str]) -> list[Path]:
    """Return every file that is tracked, or would be."""
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is not a checkout")
    command = [tool("git"), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_module_has_a_catch_all_name(repository_files: list[Path]) -> None:
    assert not [
        path.relative_to(ROOT)
        for path in repository_files
        if path.suffix == ".py"
        and CATCH_ALL_NAMES.intersection(
            part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts
        )
    ]


def test_no_file_names_a_place_on_somebodys_machine(repository_files: list[Path]) -> None:
    found = []
    for path in repository_files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if HOST_PATH.search(text):
            found.append(path.relative_to(ROOT))
    assert not found


@pytest.mark.parametrize(
    ("text", "is_host_path"),
    [
        ("/" + "home/ann/project", True),
        ('cd "/' + 'root/.cache"', True),
        ("C:\\" + "Users\\ann", True),
        ("https://example.org/" + "home/page", False),
        ("/usr/share/doc and /" + "tmp/x", False),
    ],
)
def test_a_host_path_is_recognised(text: str, *, is_host_path: bool) -> None:
    assert bool(HOST_PATH.search(text)) is is_host_path


def test_every_module_says_what_it_is_for() -> None:
    for module in MODULES:
        assert ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))), module


def test_the_changelog_opens_with_this_version(wheel: Path) -> None:
    version = wheel.name.split("-")[1]
    headings = re.findall(r"(?m)^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert headings[0] == version
