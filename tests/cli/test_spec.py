"""``esps-portal spec``: the files of the specification."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

from esps_portal.control.openapi import KINDS, openapi
from esps_portal.mock.scenario_schema import scenario_schema
from tests.commands import COMMAND, run, start


def test_the_sample_capture() -> None:
    folder = Path(run("spec", "--path")[1].strip())
    ran = subprocess.run([COMMAND, "spec", "capture"], capture_output=True, check=True)
    assert (ran.stdout, ran.stderr) == ((folder / "sample.pcap").read_bytes(), b"")


def test_a_terminal_gets_no_packets() -> None:
    ours, theirs = pty.openpty()
    with start("spec", "capture", stdout=theirs) as process:
        os.close(theirs)
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == (
            "esps-portal: a capture is binary: esps-portal spec capture > sample.pcap\n"
        )
    os.close(ours)


def test_the_vectors_are_files() -> None:
    message = "esps-portal: the test vectors are files: see the folder esps-portal spec --path\n"
    assert run("spec", "vectors") == (1, "", message)
    assert run("spec", "vectors", "--path") == run("spec", "--path")


def test_schemas() -> None:
    assert json.loads(run("spec", "scenario")[1]) == scenario_schema()
    document = json.loads(run("spec", "openapi")[1])
    assert document == openapi(KINDS)
    assert "/peers/{name}/stubs" in document["paths"]


def test_spec() -> None:
    folder = Path(run("spec", "--path")[1].strip())
    for args, file in (
        (["spec"], "esps-1.md"),
        (["spec", "overview"], "README.md"),
        (["spec", "guide"], "implementing.md"),
        (["spec", "abnf"], "esps-1.abnf"),
        (["spec", "registry"], "registry.toml"),
        (["spec", "deployment"], "deployment.md"),
    ):
        assert run(*args)[1] == (folder / file).read_text(encoding="utf-8")
