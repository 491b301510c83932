"""No octet of a stranger's moves a terminal: what the command shows is visible."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from esps_portal.cli import main
from tests.cli.peers import GREETING, saying

# Clear the screen, ring, go back, set the title (C1), an overlong line's CR, a bidi override.
EVIL = "\x1b[2J\a\b\x9b\x1b]0;owned\x07\r\u202e"
ESCAPED = "".join(f"%{octet:02X}" for octet in EVIL.encode())


CASES = [
    (["call", "x"], GREETING, [f"DATA {ESCAPED}\nOK {ESCAPED}"]),
    (["call", "--json", "x"], GREETING, [f"DATA {ESCAPED}\nOK {ESCAPED}"]),
    (["call", "x"], GREETING, [f"ERR x-mine {ESCAPED}"]),
    (["list", "x"], GREETING, [f"OK {ESCAPED} {ESCAPED} {ESCAPED} {ESCAPED}"]),
    (["list"], GREETING, [f"OK {ESCAPED}", f"OK {ESCAPED} i {ESCAPED} {ESCAPED}"]),
    (["list", "--json", "x"], GREETING, [f"OK {ESCAPED} {ESCAPED} {ESCAPED} {ESCAPED}"]),
    (["call", "x"], f"* BYE {ESCAPED}\n", []),
    (["call", "x"], f"{GREETING}* BYE {ESCAPED}\n", []),
    (["ping", "-c", "1"], f"* ESPS/1 {ESCAPED}\n", [f"OK {ESCAPED}"]),
    (["ping", "-c", "1"], GREETING, [f"ERR x-mine {ESCAPED}"]),
    (["call", "x"], EVIL + "\n", []),
]


@pytest.mark.parametrize(
    ("command", "greeting", "answers"),
    CASES,
    ids=[f"{number}-{command[0]}" for number, (command, _, _) in enumerate(CASES)],
)
def test_what_is_shown(command: list[str], greeting: str, answers: list[str]) -> None:
    # ESPS-SEC-5
    with saying(greeting, *answers) as url:
        name, *rest = command
        # With colours kept, as on a terminal; else click itself drops some of this.
        ran = CliRunner().invoke(main, [name, "--url", url, *rest], color=True)
    shown = ran.stdout + ran.stderr
    assert shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize("greeting", [f"* ESPS/1 {ESCAPED}\n", f"* BYE {ESCAPED}\n", EVIL + "\n"])
def test_what_inspect_shows(greeting: str) -> None:  # ESPS-SEC-5
    with saying(greeting, f"ERR x-mine {ESCAPED}") as url:
        host, port = url.removeprefix("esps://").split(":")
        options = ["--host", host, "--port", port, "--timeout", "0.2"]
        ran = CliRunner().invoke(main, ["inspect", *options], color=True)
    assert port in ran.stdout
    assert [c for c in ran.stdout + ran.stderr if not c.isprintable() and c != "\n"] == []
