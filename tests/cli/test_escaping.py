"""What a peer sends is escaped before it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.peers import GREETING, tcp_server
from tests.commands import run, run_in_colour

# Clear the screen, bell, backspace, set the title (C1 and OSC), CR, a bidi override.
EVIL = "\x1b[2J\a\b\x9b\x1b]0;owned\x07\r\u202e"
ESCAPED = "".join(f"%{byte:02X}" for byte in EVIL.encode())


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
    with tcp_server(greeting, *answers) as url:
        name, *rest = command
        # Otherwise click strips escape sequences itself.
        _, out, err = run_in_colour(name, "--url", url, *rest)
    shown = out + err
    assert shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize("greeting", [f"* ESPS/1 {ESCAPED}\n", f"* BYE {ESCAPED}\n", EVIL + "\n"])
def test_what_inspect_shows(greeting: str) -> None:  # ESPS-SEC-5
    with tcp_server(greeting, f"ERR x-mine {ESCAPED}") as url:
        host, port = url.removeprefix("esps://").split(":")
        options = ["--host", host, "--port", port, "--timeout", "30"]
        _, out, err = run_in_colour("inspect", *options)
    assert port in out
    assert [c for c in out + err if not c.isprintable() and c != "\n"] == []


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--port", "0", "--record"),
        ("serve", "--port", "0", "--control", "--control-token-file"),
        ("serve", "--port", "0", "--tls-key", "/dev/null", "--tls-cert"),
        ("proxy", "--upstream", "tcp://127.0.0.1:1", "--pcap"),
        ("signature", "nmap", "--merge"),
        ("run", "--"),
    ],
    ids=lambda command: f"{command[0]}{command[-1]}",
)
def test_the_name_of_a_file_or_a_command_is_shown_escaped_in_one_line(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    name = f"{tmp_path}/no{EVIL}\nsuch/x"
    code, out, err = run(*command, name)
    assert (code, out) == ({"run": 127, "signature": 2}.get(command[0], 1), "")
    assert r"no\x1b[2J\x07\x08\x9b\x1b]0;owned\x07\r\u202e\nsuch/x" in err
    assert err.endswith("\n")
    assert err[:-1].isprintable()


def test_a_file_name_that_is_no_text_is_shown_with_its_bytes(tmp_path: Path) -> None:
    path = b"%b/n\xff such/x" % bytes(tmp_path)
    code, out, err = run("serve", "--port", "0", "--record", path)
    why = f"cannot record to {tmp_path}/n\\xff such/x: No such file or directory"
    assert (code, out, err) == (1, "", f"esps-portal: {why}\n")
