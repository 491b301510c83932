"""Numbers on the command line: decimal digits of ASCII, of a length that a person writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cases import cases
from tests.commands import run_failing

WRONG = ["1_0", "\u0661\u0660", "9" * 5000, "0x10", "1 0", ""]


@pytest.mark.parametrize("number", WRONG, ids=lambda text: ascii(text)[:12])
@cases(
    "words",
    [
        ("serve", "--port"),
        ("peer", "--framing", "lines", "--port"),
        ("proxy", "--upstream", "tcp://127.0.0.1:1", "--port"),
        ("serve", "--control"),
        ("serve", "--metrics"),
        ("ping", "-c"),
        ("ping", "-i"),
        ("ping", "-W"),
        ("call", "echo", "-W"),
        ("inspect", "--port"),
        ("inspect", "-W"),
        ("conformance", "esps://127.0.0.1:1", "-W"),
        ("serve", "--fault", "latency seconds="),
        ("serve", "--fault", "reset request="),
        ("serve", "--fault", "reset offset="),
        ("peer", "--framing", "fixed:"),
        ("peer", "--framing", "length-prefixed:2,at="),
        ("call", "echo", "--url", "127.0.0.1:"),
        ("proxy", "--upstream", "tcp://127.0.0.1:"),
    ],
)
def test_what_is_no_number_is_bad_usage(words: tuple[str, ...], number: str) -> None:
    if words[-1].endswith(("=", ":")):
        words = (*words[:-1], words[-1] + number)
    else:
        words = (*words, number)
    code, line = run_failing(*words)
    assert code == 2
    assert "set_int_max" not in line
    assert len(line) < 400


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("idle = " + "9" * 5000, "not TOML: an integer of thousands of digits"),
        ("idle = 0x" + "f" * 5000, "at most 1000000, got a number of thousands of digits"),
        ("idle = " + "[" * 50_000, "nested"),
        (
            "max-line = 1_000_000_000_000",
            "max-line must be a positive number, at most 1000000, got",
        ),
    ],
    ids=["decimal", "hexadecimal", "deep", "more than memory"],
)
def test_a_file_of_limits(toml: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text(toml)
    code, line = run_failing("conformance", "esps://127.0.0.1:1", "--limits", str(file))
    assert code == 2
    assert message in line
    assert len(line) < 400
