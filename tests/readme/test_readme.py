"""The examples of the README are executed, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.faults.fault_types import FAULT_TYPES
from tests.plugin.suite_runs import run_here
from tests.processes import RunningServer, running_server

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def sessions() -> Iterator[list[tuple[str, str]]]:
    """Yield the commands of each console block, each with the output that the README shows."""
    for block in blocks("console"):
        entries = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        split = (entry.partition("\n") for entry in entries)
        yield [(command, output) for command, _, output in split]


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


def environment(portal: RunningServer) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "ESPS_PORTAL_URL": portal.url}


@pytest.mark.parametrize("session", list(sessions()), ids=lambda session: session[0][0])
def test_console(
    session: list[tuple[str, str]],
    portal: RunningServer,
    tool: Callable[[str], str],
    tmp_path: Path,
) -> None:
    for command, output in session:
        if command == "esps-portal serve":
            with running_server(json_lines=False) as running:
                assert running.first_lines(3).replace(str(running.port), "2867") == output
            continue
        if " nc " in command:
            tool("nc")
        ran = subprocess.run(  # noqa: S602 - the README's commands are shell commands
            command.replace("2867", str(portal.port)),
            shell=True,
            cwd=tmp_path,
            env=environment(portal),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert ran.stdout + ran.stderr == output


STRICT = re.search(
    r"<!-- strict -->\n```python\n(.*?)```\n\n```text\n(.*?)```\n<!-- end -->", README, re.DOTALL
)
assert STRICT is not None
SUITES = [p for p in blocks("python") if "def test_" in p and p != STRICT[1]]
PROGRAMS = [program for program in blocks("python") if "def test_" not in program]


@pytest.mark.parametrize("program", SUITES)
def test_suite(program: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_readme_suite=program)
    run_here(pytester, needs=("trio",)).assert_outcomes(passed=program.count("def test_"))


def test_what_a_strict_test_reports(pytester: pytest.Pytester) -> None:
    assert STRICT is not None
    pytester.makepyfile(test_strict=STRICT[1])
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    printed = re.sub(r"(?m)^_+ (.*?) _+$", r"\1", result.stdout.str())
    for line in STRICT[2].splitlines():
        # Times and ports are those of each run.
        pattern = re.sub(r"\d\\\.\d{3}|(?<=:)\d{5}", r"[\\d.]+", re.escape(line))
        assert re.search(rf"(?m)^{pattern}$", printed), (line, printed)


def test_the_table_of_faults_is_complete() -> None:
    table = README.partition("<!-- faults -->\n")[2].partition("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0].strip("`") for row in rows] == list(FAULT_TYPES)
    for (_, over, before, parameters, meaning), kind in zip(
        rows, FAULT_TYPES.values(), strict=True
    ):
        assert over.split(", ") == sorted(kind.transports)
        assert (before == "yes") == kind.allows_before
        assert re.findall(r"`(\w+)", parameters) == list(kind.parameters)
        assert meaning == kind.meaning


@pytest.mark.parametrize("program", PROGRAMS)
def test_python(program: str, portal: RunningServer) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace("2867", str(portal.port))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "b'hi'" in ran.stdout or "b'9.99'" in ran.stdout


def test_shell_blocks_are_install_and_test() -> None:
    first, second = blocks("sh")
    assert shlex.split(first)[-2:] == [".venv/bin/esps-portal", "serve"]
    assert shlex.split(second)[-3:] == ["pytest", "-n", "auto"]


def test_links_are_absolute() -> None:
    """Relative links are broken where a package index shows the README."""
    relative = [link for link in links(README) if not re.match(r"https?://|#", link)]
    assert not relative


def links(text: str) -> list[str]:
    """Return the target of each link and image in Markdown, except in code."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"\]\(\s*<?([^)>\s]+)", text)
    references = re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    return inline + references + re.findall(r"(?:href|src)=[\"']([^\"']+)", text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[a](spec/x.md) ![b](./b.png)", ["spec/x.md", "./b.png"]),
        ("[a]: spec/x.md", ["spec/x.md"]),
        ('<img src="b.png">', ["b.png"]),
        ("`x[0](1)` and\n```python\nf[1](2)\n```\n", []),
    ],
)
def test_a_link_is_found(text: str, found: list[str]) -> None:
    assert links(text) == found


def test_all_commands_are_listed() -> None:
    from esps_portal.cli import main  # noqa: PLC0415 - for this test only

    named = set(re.findall(r"^\| `esps-portal (\w+)", README, re.MULTILINE))
    assert named == set(main.list_commands(None))  # type: ignore[arg-type]  # it takes any context
