"""What a shell completes, by the protocol of click, and by the functions that shells are given."""

from __future__ import annotations

import functools
import os
import pty
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from esps_portal.cli import main, zsh_completion
from esps_portal.cli.completion import complete_service
from esps_portal.faults.fault_types import FAULT_TYPES, SELECTORS
from esps_portal.framings.parse import parse_framing
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.certificates import Certificates
from tests.cli.peers import GREETING, tcp_server, unused_address
from tests.commands import COMMAND
from tests.patience import PATIENCE
from tests.processes import running_server


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it wait for a portal: a busy machine may be late, and then nothing is completed."""
    monkeypatch.setattr("esps_portal.cli.completion._TIMEOUT", PATIENCE)


def completed(line: str, shell: str = "bash", url: str = "", breaks: str = "") -> list[str]:
    """Return the completions at the end of ``line``; bash splits words at ``breaks`` too."""
    words = line.split(" ")
    environment = {
        "_ESPS_PORTAL_COMPLETE": f"{shell}_complete",
        "ESPS_PORTAL_URL": url or None,
        "COMP_LINE": f"esps-portal {line}" if shell == "bash" else None,
        "COMP_WORDBREAKS": breaks or None,
        "COMP_WORDS": f"esps-portal {line}",
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    ran = CliRunner().invoke(main, [], prog_name="esps-portal", env=environment)
    assert (ran.exit_code, ran.stderr) == (0, "")
    return list(filter(None, ran.stdout.splitlines()))


def test_commands_options_and_choices() -> None:
    assert completed("se") == ["plain,serve"]
    assert completed("ping --cou") == ["plain,--count"]
    assert completed("spec ab") == ["plain,abnf"]
    assert completed("signature nm") == ["plain,nmap"]
    assert completed("nonsense --u") == []


# ---- services ----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "esps://127.0.0.1:{}", "esps+udp://127.0.0.1:{}"])
def test_services(portal: ThreadedPortal, form: str) -> None:
    url = form.format(portal.port)
    assert completed("call ec", url=url) == ["plain,echo"]
    assert completed(f"call --url {url} ec") == ["plain,echo"]
    assert completed(f"call --url={url} ec") == ["plain,echo"]
    assert completed(f"list --json --url {url} st") == ["plain,stats", "plain,stall"]
    assert completed(f"call --url {url} echo ec") == []


@pytest.mark.parametrize(
    ("shell", "shown"), [("zsh", ["plain", "echo", "_"]), ("fish", ["plain,echo"])]
)
def test_in_other_shells_too(portal: ThreadedPortal, shell: str, shown: list[str]) -> None:
    assert completed("call ec", shell, url=portal.url) == shown
    assert completed(f"call --url {portal.url} ec", shell) == shown


def test_services_over_tls(certificates: Certificates) -> None:
    files = certificates.portal
    with running_server("--tls-cert", files.cert, "--tls-key", files.key) as server:
        url = f"esps+tls://127.0.0.1:{server.port}"
        assert completed(f"call --url {url} --cafile {certificates.ca} ec") == ["plain,echo"]
        assert completed(f"call --url {url} ec") == []  # it is not trusted
        assert completed(f"call --url {url} --cafile {__file__} ec") == []


def test_a_completion_script_of_an_older_version(portal: ThreadedPortal) -> None:
    environment = {
        "_ESPS_PORTAL_COMPLETE": "bash_complete",
        "COMP_WORDS": "esps-portal call ec",
        "COMP_CWORD": "2",
        "ESPS_PORTAL_URL": portal.url,
    }
    ran = CliRunner().invoke(main, [], prog_name="esps-portal", env=environment)
    assert ran.stdout == "plain,echo\n"


def test_without_a_portal_nothing_is_completed() -> None:
    with unused_address() as where:
        assert completed("call ec", url=where) == []
    assert completed("call ec", url="http://x") == []
    with tcp_server("SSH-2.0-x\r\n") as url:
        assert completed("call ec", url=url) == []


def test_a_silent_server_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esps_portal.cli.completion._TIMEOUT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "esps://{}:{}".format(*silent.getsockname())
        assert completed("call ec", url=url) == []


def test_resolving_a_host_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """`socket.getaddrinfo` itself has no timeout."""
    release, found = threading.Event(), threading.Event()

    def look_up(*_: object, **__: object) -> object:
        release.wait(30)
        found.set()
        raise OSError

    monkeypatch.setattr("esps_portal.cli.completion._TIMEOUT", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert completed("call ec", url="esps://slow.invalid") == []
    assert not found.is_set()
    release.set()
    assert found.wait(30)


def test_only_valid_names_reach_the_shell() -> None:
    with tcp_server(GREETING, "OK echo $(reboot) a%0Ab %1B[2J Echo good-1") as url:
        assert completed("call ", url=url) == ["plain,echo", "plain,good-1"]


# ---- files and faults --------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["serve", "run"])
@pytest.mark.parametrize("option", ["--scenario", "--replay", "--record"])
def test_files(command: str, option: str) -> None:
    assert completed(f"{command} {option} ca") == ["file,ca"]
    assert completed(f"{command} {option}=ca") == ["file,ca"]


def test_a_command_to_run_and_its_arguments_are_files() -> None:
    assert completed("run -- ./ca") == ["file,./ca"]
    assert completed("run -- grep ca") == ["file,ca"]


@pytest.mark.parametrize("option", ["--record", "--pcap", "--scenario"])
def test_files_of_a_proxy(option: str) -> None:
    assert completed(f"proxy --upstream tcp://127.0.0.1:9 {option} ca") == ["file,ca"]


@pytest.mark.parametrize("option", ["--framing", "--reply-framing"])
def test_framings(option: str) -> None:
    assert completed(f"proxy {option} lines:c") == ["plain,lines:crlf", "plain,lines:cr"]
    assert completed(f"proxy {option}=de") == ["plain,delimited:"]
    for item in completed(f"proxy {option} "):
        name = item.removeprefix("plain,")
        parse_framing(
            name + {"delimited:": "0a", "matching:": "a"}.get(name, "2" * name.endswith(":"))
        )


def test_datagrams_are_a_framing_of_a_peer_only() -> None:
    assert completed("peer --framing data") == ["plain,datagrams"]
    assert completed("proxy --framing data") == []


def test_faults_and_their_parameters() -> None:
    assert completed("serve --fault la") == ["plain,latency"]
    assert completed("serve --fault=la") == ["plain,latency"]
    assert completed('serve --fault "latency se') == [
        "plain,latency seconds=",
        "plain,latency service=",
        "plain,latency seed=",
    ]
    assert "plain,latency seconds=" not in completed('serve --fault "latency seconds=1 ')
    assert "plain,latency seconds=1 jitter=" in completed('serve --fault "latency seconds=1 ')
    assert completed("serve --fault 'reset when=") == [
        "plain,reset when=before",
        "plain,reset when=after",
    ]
    assert completed('serve --fault "truncate when=') == ["plain,truncate when=after"]
    assert completed('serve --fault "drop transport=') == ["plain,drop transport=udp"]
    assert completed('serve --fault "accept-close se') == ["plain,accept-close seed="]
    assert completed('serve --fault "nonsense ') == []
    assert completed('serve --fault "reset match') == [
        "plain,reset match=",
        "plain,reset match=re:",
        "plain,reset match=hex:",
    ]
    assert completed('serve --fault "reset unit') == ["plain,reset unit=connection"]
    assert completed('serve --fault "reset repl') == [
        "plain,reset reply=",
        "plain,reset reply_match=",
        "plain,reset reply_match=re:",
        "plain,reset reply_match=hex:",
    ]
    assert completed('serve --fault "reset age') == ["plain,reset age="]
    assert completed('serve --fault "drop age') == []
    assert completed('serve --fault "reset to') == []


def test_completed_keys_are_valid() -> None:
    """Each key that is completed is a parameter or selector of that fault."""
    for name, fault in FAULT_TYPES.items():
        offered = {
            item.split()[-1].partition("=")[0] for item in completed(f'run --fault "{name} ')
        }
        assert offered <= {*fault.parameters, *SELECTORS}
        assert offered >= {*fault.parameters}


def test_without_a_reader_nothing_is_printed() -> None:
    with subprocess.Popen(
        [COMMAND],
        env={**os.environ, "_ESPS_PORTAL_COMPLETE": "bash_complete", "COMP_LINE": "esps-portal "},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, b"")


# ---- bash itself -------------------------------------------------------------------------------


@functools.cache
def bash_source() -> str:
    """Return what bash evaluates, as the installed command prints it."""
    return subprocess.run(
        [COMMAND],
        env={**os.environ, "_ESPS_PORTAL_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


# The command, but it waits for a portal as long as a test does.
PATIENT = f"""#!{sys.executable}
from esps_portal.cli import completion, main
completion._TIMEOUT = {PATIENCE}
main(prog_name="esps-portal")
"""


def completed_by_bash(
    line: str, *words: str, after: str = "", command: str | Path = COMMAND
) -> list[str]:
    """Call the function that bash is given, with the cursor before ``after``.

    Args:
        line: what bash has in COMP_LINE.
        words: what bash makes of it, as it splits words at : and =.
        command: what answers instead of the installed command.
    """
    script = f"""
        compopt() {{ :; }}  # it works only while bash itself completes
        eval "$1"; shift
        COMP_LINE=$1$2; COMP_POINT=${{#1}}; shift 2
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _esps_portal_completion {command}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", bash_source(), line, after, *words],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert not ran.stderr
    return ran.stdout.splitlines()


def test_in_bash_itself(portal: ThreadedPortal, tmp_path: Path) -> None:
    """Bash splits its words at ``:``; the line is whole."""
    patient = tmp_path / "esps-portal"
    patient.write_text(PATIENT, encoding="utf-8")
    patient.chmod(0o700)
    host, port = portal.host, portal.port
    words = ["esps-portal", "call", "--url", host, ":", str(port), "ec"]
    line = f"esps-portal call --url {host}:{port} ec"
    assert completed_by_bash(line, *words, after=" and more", command=patient) == ["echo"]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (r"--fault latency\ sec", [r"latency\ seconds="]),
        (r"--fault=latency\ sec", [r"latency\ seconds="]),
        (r"--fault latency\ seconds=1\ jit", [r"1\ jitter="]),
        (r"--fault=latency\ seconds=1\ jit", [r"1\ jitter="]),
        (r'--fault "latency sec', ["latency seconds="]),
        (r"--fault 'latency sec", ["latency seconds="]),
        ("--fault lat", ["latency"]),
        ("--framing lines:cr", ["crlf", "cr"]),
        ("--framing delim", ["delimited:"]),
    ],
)
def test_a_word_without_quotes_keeps_its_backslashes(typed: str, expected: list[str]) -> None:
    """Bash replaces what is after the last ``=`` or ``:`` of it."""
    command = "proxy" if "framing" in typed else "serve"
    assert completed(f"{command} {typed}", breaks="=:") == [f"plain,{word}" for word in expected]


@pytest.mark.parametrize(
    ("typed", "last_word", "expected"),
    [
        (r"--fault=latency\ seconds=1\ jit", r"1\ jit", [r"1\ jitter="]),
        (r"--fault reset\ when=", "", ["before", "after"]),
        (r'--fault "latency sec', '"latency sec', ["latency seconds="]),
    ],
)
def test_bash_keeps_them_too(typed: str, last_word: str, expected: list[str]) -> None:
    line = f"esps-portal serve {typed}"
    assert completed_by_bash(line, "esps-portal", "serve", "--fault", last_word) == expected


def completed_at_prompt(shell: list[str], setup: str, keys: bytes, end: bytes) -> bytes:
    """Type into a shell that completes for the command, on a terminal.

    Args:
        shell: the shell, without files of the user's.
        setup: lines before that.
        keys: what is typed at the prompt.
        end: what is waited for.

    Returns:
        What is on the screen since the prompt.
    """
    name = Path(shell[0]).name
    setup = f"""PATH={Path(COMMAND).parent}:$PATH
        {setup}
        eval "$(_ESPS_PORTAL_COMPLETE={name}_source esps-portal)"; PS1='ready'' '\n"""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        shell,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "dumb", "INPUTRC": "/dev/null"},
        start_new_session=True,
    ) as process:
        os.close(follower)
        try:
            os.write(leader, setup.encode())
            read_until(leader, b"ready ")
            os.write(leader, keys)
            screen = read_until(leader, end)
        finally:
            process.kill()
    os.close(leader)
    return screen


@pytest.mark.heavy
def test_at_the_prompt_of_bash() -> None:
    """The Tab key; what bash puts on the line is one word."""
    keys = rb"esps-portal serve --fault latency\ seco" + b"\t1\\ jit\t"
    screen = completed_at_prompt(["bash", "--norc", "--noprofile", "-i"], "", keys, b"jitter=")
    assert rb"--fault latency\ seconds=1\ jitter=" in screen


@pytest.mark.heavy
def test_at_the_prompt_of_zsh(tool: Callable[[str], str]) -> None:
    """What it puts on the line can be continued: the quote is open, and no space follows."""
    keys = b'esps-portal serve --fault "latency seco\t1 jit\t'
    setup = "autoload -Uz compinit; compinit -D; unsetopt prompt_cr prompt_sp"
    screen = completed_at_prompt([tool("zsh"), "-f", "-i"], setup, keys, b"jitter=")
    assert b'--fault "latency seconds=1 jitter=' in screen


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("serve --fault lat", ["latency"]),
        ("serve --fault 'latency seco", ["latency seconds="]),
        ("call --timeo", ["--timeout"]),
    ],
)
def test_in_fish_itself(tool: Callable[[str], str], typed: str, expected: list[str]) -> None:
    script = f"""
        set PATH {Path(COMMAND).parent} $PATH
        _ESPS_PORTAL_COMPLETE=fish_source esps-portal | source
        complete -C "esps-portal {typed}"
    """
    ran = subprocess.run(
        [tool("fish"), "--no-config", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [line.partition("\t")[0] for line in ran.stdout.splitlines()] == expected


def test_each_change_of_the_script_for_zsh_is_one() -> None:
    for new in zsh_completion.CHANGES.values():
        assert new in zsh_completion.OpenZshComplete.source_template


def read_until(descriptor: int, end: bytes) -> bytes:
    """Read what comes on a screen until ``end`` is there."""
    screen = b""
    while end not in screen:
        readable, _, _ = select.select([descriptor], [], [], 30)
        assert readable, screen
        screen += os.read(descriptor, 65536)
    return screen


def test_the_default_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def connect(url: str, **_: object) -> object:
        asked.append(url)
        raise ValueError

    monkeypatch.setattr("esps_portal.blocking.connect", connect)
    context = click.Context(click.Command("x"))
    assert complete_service(context, click.Argument(["service"]), "") == []
    assert asked == ["esps://127.0.0.1:2867"]
