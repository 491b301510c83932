"""``python -m tests.attacks``: its arguments, what it prints, and its status."""

from __future__ import annotations

import json
import sys

import pytest

from tests.attacks import __main__ as command
from tests.attacks.attack import Attack, Outcome, Scale
from tests.attacks.catalogue import ATTACKS
from tests.attacks.targets import LAUNCHER
from tests.forked import ForkedProcess

GOOD = Attack("good", "harms nobody", lambda scale: Outcome(f"did {scale.count(100)}", ()))


def fail(_: Scale) -> Outcome:
    raise OSError("no such thing")


BAD = Attack("bad", "harms", lambda _: Outcome("did", ("1 client was refused",)))
FAILS = Attack("fails", "cannot run", fail)


@pytest.fixture(autouse=True)
def _own_limit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "raise_own_limit", lambda: None)


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tests.attacks", *args])
    try:
        return command.main()
    except SystemExit as ended:
        return int(ended.code or 0)


def test_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m tests.attacks ")
    assert all(option in out for option in ("--list", "--json", "--seconds", "--share"))


def test_the_list_names_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "--list") == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [attack.name for attack in ATTACKS]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nosuch", "slow"], "no such attack: nosuch (see --list)"),
        *((["--share", number], "argument --share: ") for number in ("0", "-1", "nan", "inf", "x")),
        (["--seconds", "0"], "argument --seconds: must be greater than 0, got 0"),
    ],
)
def test_wrong_arguments(
    args: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *args) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("attacks", "status", "last"),
    [
        ([GOOD], 0, "1 of 1 attacks did no harm"),
        ([GOOD, BAD, FAILS], 1, "1 of 3 attacks did no harm"),
    ],
    ids=["good", "bad"],
)
def test_the_verdicts(
    attacks: list[Attack],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "ATTACKS", attacks)
    assert run(monkeypatch, "--share", "0.5") == status
    out = capsys.readouterr().out
    assert "did 50 (0 s): good" in out
    assert ("BAD: 1 client was refused" in out) == (status == 1)
    assert ("BAD: OSError: no such thing" in out) == (status == 1)
    assert out.endswith(f"\n{last}\n")


def test_a_small_attack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is good is left to times that nobody judges here: the status says the same."""
    monkeypatch.setattr(LAUNCHER, "launch", ForkedProcess)
    status = run(monkeypatch, "bad-lines", "--seconds", "0.2", "--share", "0.0005", "--json")
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found["attack"] == "bad-lines"
    assert status == bool(found["problems"])
