"""``esps-portal call`` and ``list``: what goes in, and in which form it comes out."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios

import pytest

from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import COMMAND, run, run_in_colour


def on_terminal(*args: str, url: str, columns: int = 80) -> str:
    """Run the command on a terminal and return what came on its screen."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    plain = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    with subprocess.Popen(
        [COMMAND, *args],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**plain, "TERM": "xterm", "ESPS_PORTAL_URL": url},
    ) as process:
        os.close(follower)
        screen = b""
        with os.fdopen(leader, "rb", buffering=0) as shown:
            try:
                while data := shown.read(65536):
                    screen += data
            except OSError:  # Linux: the other end is closed
                pass
        assert process.wait(30) == 0
    return screen.decode()


# ---- calls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_call(portal: ThreadedPortal, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{portal.port}"
    assert run("call", "echo", "a b", "", "c", url=url)[1] == "a b  c\n"
    assert run("call", "echo", "-", url=url, stdin=b"from stdin")[1] == "from stdin\n"
    assert run("call", "drip", "2", "1", url=url)[1] == "1\n2\n2\n"
    assert run("call", "discard", "x", url=url)[1] == ""


def test_call_as_json(portal: ThreadedPortal) -> None:
    _, out, _ = run("call", "--json", "random", "4", "seed", url=portal.url)
    (line,) = out.splitlines()
    assert json.loads(line)["type"] == "ok"


def test_control_bytes_are_escaped(portal: ThreadedPortal) -> None:
    assert run("call", "echo", "\x1b[2J", url=portal.url)[1] == "\\x1b[2J\n"


def test_a_call_that_takes_too_long(portal: ThreadedPortal) -> None:
    code, _, err = run("call", "--timeout", "0.2", "delay", "60000", url=portal.url)
    assert (code, err) == (1, "esps-portal: no reply in 0.2 s\n")


# ---- options and arguments ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--timout", "1"], "'--timout' (did you mean '--timeout'?)"),
        (["-5"], "'-5'"),
        (["-x"], "'-x'"),
        (["--keep-newlin"], "'--keep-newlin' (did you mean '--keep-newline'?)"),
    ],
)
def test_an_unknown_option_is_no_argument(
    portal: ThreadedPortal, args: list[str], says: str
) -> None:
    code, out, err = run("call", "echo", "hi", *args, url=portal.url)
    assert (code, out) == (2, "")
    assert err == (
        f"esps-portal call: No such option {says}; put arguments that begin with - after --;"
        " see esps-portal call --help\n"
    )


def test_two_dashes_end_the_options(portal: ThreadedPortal) -> None:
    args = ("--", "-5", "--timeout", "x")
    assert run("call", "echo", *args, url=portal.url) == (0, "-5 --timeout x\n", "")
    assert run("call", "--", "echo", "-5", url=portal.url) == (0, "-5\n", "")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["pign"], "esps-portal: No such command 'pign' (did you mean 'ping'?); see "),
        (["ping", "--quite"], "esps-portal ping: No such option '--quite' (did you mean '--quiet'"),
        (["run", "--srtict", "x"], "esps-portal run: No such option '--srtict' (did you mean '--s"),
        (["list", "--tiemout"], "esps-portal list: No such option '--tiemout' (did you mean '--ti"),
    ],
)
def test_what_is_misspelt_has_a_suggestion(args: list[str], says: str) -> None:
    code, out, err = run(*args)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(says)


def test_seconds_have_a_short_option(portal: ThreadedPortal) -> None:
    for args in (["call", "echo"], ["list"], ["ping", "-c", "1"]):
        assert run(*args, "-W", "30", url=portal.url)[0] == 0
    code, _, err = run("call", "-W", "0.05", "delay", "60000", url=portal.url)
    assert (code, err) == (1, "esps-portal: no reply in 0.05 s\n")


@pytest.mark.parametrize(
    ("given", "dropped"),
    [
        (b"hello\n", b"hello"),
        (b"hello\r\n", b"hello"),
        (b"a\n\n", b"a\n"),
        (b"a\r", b"a\r"),
        (b"\n", b""),
        (b"a\nb", b"a\nb"),
    ],
)
def test_standard_input_loses_its_last_newline(
    portal: ThreadedPortal, given: bytes, dropped: bytes
) -> None:
    raw = ("call", "--raw", "echo", "-")
    assert run(*raw, url=portal.url, stdin=given)[1].encode() == dropped
    assert run(*raw, "--keep-newline", url=portal.url, stdin=given)[1].encode() == given


# ---- output ------------------------------------------------------------------------------------


def test_raw_adds_nothing(portal: ThreadedPortal) -> None:
    ran = subprocess.run(
        [COMMAND, "call", "--url", portal.url, "--raw", "echo", b"\xff\x1b", "b"],
        stdout=subprocess.PIPE,
        check=True,
    )
    assert ran.stdout == b"\xff\x1bb"
    assert run("call", "--raw", "drip", "3", "0", url=portal.url) == (0, "1233", "")
    code, _, err = run("call", "--raw", "--json", "echo", url=portal.url)
    assert (code, err.count("\n")) == (2, 1)


def test_json_tells_data_from_the_result(portal: ThreadedPortal) -> None:
    _, out, _ = run("call", "--json", "drip", "2", "0", url=portal.url)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"type": "data", "args": ["1"]},
        {"type": "data", "args": ["2"]},
        {"type": "ok", "args": ["2"]},
    ]


def test_in_a_pipe_there_is_no_style(portal: ThreadedPortal) -> None:
    assert run("call", "drip", "2", "0", url=portal.url) == (0, "1\n2\n2\n", "")


def test_on_a_terminal_the_result_is_bold(portal: ThreadedPortal) -> None:
    shown = on_terminal("call", "drip", "2", "0", url=portal.url)
    assert shown == "1\r\n2\r\n\x1b[1m2\x1b[0m\r\n"


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Have the command in this process take its output for a terminal."""
    monkeypatch.setattr("esps_portal.cli.reply_lines.is_terminal", lambda: True)
    monkeypatch.setattr("esps_portal.cli.output.is_terminal", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value", "last"),
    [
        ("NO_COLOR", "", "\x1b[1m2\x1b[0m"),
        ("NO_COLOR", "1", "2"),
        ("TERM", "dumb", "2"),
    ],
)
def test_no_style_if_it_is_unwanted(
    portal: ThreadedPortal, terminal: pytest.MonkeyPatch, name: str, value: str, last: str
) -> None:
    terminal.setenv(name, value)
    shown = run_in_colour("call", "drip", "2", "0", url=portal.url)
    assert shown == (0, f"1\n2\n{last}\n", "")


def test_on_a_terminal_raw_is_escaped(portal: ThreadedPortal, terminal: pytest.MonkeyPatch) -> None:
    raw = ("call", "--raw", "echo", "\x1b[2J\n", "é")
    assert run_in_colour(*raw, url=portal.url)[1] == "\\x1b[2J\né"


def test_a_list_is_as_wide_as_the_terminal(portal: ThreadedPortal) -> None:
    shown = on_terminal("list", url=portal.url, columns=40)
    assert 30 < max(map(len, shown.splitlines())) <= 40
    assert shown.split() == run("list", url=portal.url)[1].split()


@pytest.mark.parametrize("columns", [10, 40, 80, 200])
@pytest.mark.parametrize("args", [["list"], ["list", "garbage"]])
def test_a_list_wraps_between_words(
    portal: ThreadedPortal, terminal: pytest.MonkeyPatch, args: list[str], columns: int
) -> None:
    lines = run(*args, "--json", url=portal.url)[1].splitlines()
    values = [value for line in lines for value in json.loads(line).values()]
    terminal.setenv("COLUMNS", str(columns))
    shown = run(*args, url=portal.url)[1]
    assert max(map(len, shown.splitlines())) <= max(columns, 20)
    assert shown.split() == " ".join(values).split()


def test_a_word_that_is_wider_stays_whole(terminal: pytest.MonkeyPatch) -> None:
    word = "w" * 100
    terminal.setenv("COLUMNS", "40")
    with serve_in_thread() as portal:

        @portal.service(usage=f"[{word}]", summary=f"some {word} words")
        def wide() -> None:
            pass

        shown = run("list", "wide", url=portal.url)[1]
    assert [line.strip() for line in shown.splitlines() if len(line) > 40] == [f"[{word}]", word]
