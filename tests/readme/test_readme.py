"""The examples of the README and the guides are executed, and print what is shown."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.faults.fault_types import FAULT_TYPES
from esps_portal.guides import GUIDES, guide_text
from tests.commands import run
from tests.forked import ForkedProcess
from tests.patience import PATIENCE
from tests.plugin.suite_runs import run_here
from tests.processes import RunningServer, running_server

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


GUIDE_TEXTS = {name: guide_text(name) for name in GUIDES}
DOCUMENTS = {"README": README, **GUIDE_TEXTS}


def blocks(language: str, text: str = README) -> list[str]:
    """Return the code of each block in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def examples(language: str) -> Iterator[tuple[str, str]]:
    """Yield the document and code of each block in a language, in all documents."""
    for name, text in DOCUMENTS.items():
        for block in blocks(language, text):
            yield name, block


Session = list[tuple[str, str]]


def sessions() -> Iterator[tuple[str, Session]]:
    """Yield the document of each console block and its commands, each with the output shown."""
    for name, block in examples("console"):
        entries = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
        split = (entry.partition("\n") for entry in entries)
        yield name, [(command, output) for command, _, output in split]


@pytest.fixture(scope="module")
def portal() -> Iterator[RunningServer]:
    with running_server() as running:
        yield running


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command be found, and what it writes be in a folder of the test."""
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)


def output_of(command: str, portal: RunningServer) -> str:
    """Return what a command prints; only one with a pipe needs a shell."""
    if "|" not in command:
        program, *args = shlex.split(command)
        assert program == "esps-portal"
        _, out, err = run(*args, url=portal.url)
        return out + err
    ran = subprocess.run(  # noqa: S602 - the README's commands are shell commands
        command.replace("2867", str(portal.port)),
        shell=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return ran.stdout + ran.stderr


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(
    "session", [pytest.param(shown, id=f"{name} {shown[0][0]}") for name, shown in sessions()]
)
def test_console(session: Session, portal: RunningServer, tool: Callable[[str], str]) -> None:
    for command, output in session:
        if command == "esps-portal serve":
            with running_server(json_lines=False) as running:
                assert running.first_lines(3).replace(str(running.port), "2867") == output
            continue
        if " nc " in command:
            tool("nc")
        assert output_of(command, portal) == output


def marked(name: str, pattern: str) -> tuple[str, ...]:
    """Return the groups of what stands between the README's marks of a name."""
    found = re.search(rf"<!-- {name} -->\n{pattern}<!-- end -->", README, re.DOTALL)
    assert found is not None
    return found.groups()


STRICT = marked("strict", r"```python\n(.*?)```\n\n```text\n(.*?)```\n")
REDIS = marked("redis", r"```python\n(.*?)```\n")


def programs(*, are_suites: bool) -> list[object]:
    """Return the examples that are test suites, or those that are programs, as parameters."""
    return [
        pytest.param(program, id=f"{name} {number}")
        for number, (name, program) in enumerate(examples("python"))
        if program not in {STRICT[0], *REDIS} and ("def test_" in program) == are_suites
    ]


@pytest.mark.parametrize("program", programs(are_suites=True))
def test_suite(program: str, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_readme_suite=program)
    outcomes = run_here(pytester, needs=("trio",)).parseoutcomes()
    assert outcomes.keys() == {"passed"}
    assert outcomes["passed"] >= program.count("def test_"), "a parametrised one counts as several"


@pytest.mark.skipif(importlib.util.find_spec("redis") is None, reason="needs the redis package")
def test_redis(redis_port: int, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_redis=REDIS[0].replace("6379", str(redis_port)))
    run_here(pytester).assert_outcomes(passed=1)


def test_what_a_strict_test_reports(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_strict=STRICT[0])
    result = run_here(pytester)
    result.assert_outcomes(passed=1, errors=1)
    printed = re.sub(r"(?m)^_+ (.*?) _+$", r"\1", result.stdout.str())
    for line in STRICT[1].splitlines():
        # Times and ports are those of each run.
        pattern = re.sub(r"\d\\\.\d{3}|(?<=:)\d{5}", r"[\\d.]+", re.escape(line))
        assert re.search(rf"(?m)^{pattern}$", printed), (line, printed)


def test_the_table_of_faults_is_complete() -> None:
    table = GUIDE_TEXTS["faults"].partition("<!-- faults -->\n")[2].partition("<!-- end -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert [row[0].strip("`") for row in rows] == list(FAULT_TYPES)
    for (_, over, before, parameters, meaning), kind in zip(
        rows, FAULT_TYPES.values(), strict=True
    ):
        assert over.split(", ") == sorted(kind.transports)
        assert (before == "yes") == kind.allows_before
        assert re.findall(r"`(\w+)", parameters) == list(kind.parameters)
        assert meaning == kind.meaning


@pytest.mark.parametrize("program", programs(are_suites=False))
def test_python(program: str, portal: RunningServer) -> None:
    script = "import warnings; warnings.simplefilter('error')\n"
    with ForkedProcess(script=script + program.replace("2867", str(portal.port))) as process:
        out, err = process.communicate(PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert "b'hi'" in out or "b'9.99'" in out


def test_shell_blocks_are_install_and_test() -> None:
    first, second = blocks("sh")
    assert shlex.split(first)[-2:] == [".venv/bin/esps-portal", "serve"]
    assert shlex.split(second)[-3:] == ["pytest", "-n", "auto"]


def test_the_readme_names_each_fault_and_each_guide() -> None:
    """Its tables are short, and leave none out."""
    rows = re.findall(r"^\| (`.*?) \|", README, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z-]+)`", row)}
    assert {*FAULT_TYPES, *GUIDES} <= named


@pytest.mark.parametrize("name", list(GUIDES))
def test_a_guide_begins_with_its_title(name: str) -> None:
    assert re.match(r"# \S", GUIDE_TEXTS[name])


def test_links_are_absolute() -> None:
    """Relative links are broken where a package index shows the README."""
    text = "\n".join(DOCUMENTS.values())
    relative = [link for link in links(text) if not re.match(r"https?://|#", link)]
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
