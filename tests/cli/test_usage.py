"""Help, the version, and what is printed for bad usage."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

import esps_portal
from esps_portal.cli import COMMANDS, main
from esps_portal.product import PRODUCT
from tests.cases import cases
from tests.commands import COMMAND, run


def test_the_version_is_the_same_everywhere() -> None:
    installed = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert installed.stdout == f"esps-portal, version {esps_portal.__version__}\n"
    assert run("--version") == (0, installed.stdout, "")
    assert f"esps-portal/{esps_portal.__version__}" == PRODUCT


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_the_terminal(command: str) -> None:
    code, out, _ = run(*command.split(), "--help")
    assert code == 0
    assert out.startswith("Usage: ")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_of_a_usage_ends_within_brackets(command: str) -> None:
    """A long list of choices would be cut in the middle of a word."""
    _, out, _ = run(*command.split(), "--help")
    usage = out.partition("\n\n")[0].splitlines()
    assert all(line.count("[") == line.count("]") for line in usage)


def test_help_says_of_each_command_what_its_own_help_begins_with() -> None:
    context = click.Context(main)
    own = {name: main.get_command(context, name) for name in main.list_commands(context)}
    _, out, _ = run("--help")
    listed = out.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split(maxsplit=1) for line in listed] == [
        [name, command.get_short_help_str(limit=100)] for name, command in own.items() if command
    ]


def test_help_imports_no_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "esps_portal", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in ran.stderr.splitlines()}
    assert "esps_portal.cli" in imported
    assert imported.isdisjoint({"attrs", "trio", "esps_portal.cli.serve", "esps_portal.cli.calls"})


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["serve", "--port", "65536"], "65536"),
        (["serve", "--port", "x"], "not a valid integer"),
        (["serve", "--no-tcp", "--no-udp"], "nothing to serve"),
        (["serve", "--nonsense"], "--nonsense"),
        (["ping", "-c", "0"], "0"),
        (["call"], "SERVICE"),
        (["call", "--timeout", "0", "echo"], "0"),
        (["nonsense"], "nonsense"),
        (["spec", "nonsense"], "nonsense"),
    ],
)
def test_bad_usage_names_the_argument(args: list[str], says: str) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("args", "start"),
    [
        ("call", "esps-portal call: Missing argument 'SERVICE'"),
        ("nonsense", "esps-portal: No such command 'nonsense'"),
        ("--nonsense", "esps-portal: No such option"),
        ("ping --nonsense", "esps-portal ping: No such option"),
        ("ping --url", "esps-portal ping: Option '--url' requires an argument"),
        ("run", "esps-portal run: Missing argument 'CMD"),
        ("spec x", "esps-portal spec: Invalid value for "),
        ("serve --no-tcp --no-udp", "esps-portal serve: --no-tcp and --no-udp leave nothing"),
    ],
)
def test_bad_usage_is_one_line(args: str, start: str) -> None:
    code, out, err = run(*args.split())
    path = start.partition(":")[0]
    assert (code, out) == (2, "")
    assert err.startswith(start)
    assert err.endswith(f"; see {path} --help\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize("args", ["\x1b[2J", "spec \x1b[2J\n", "serve --scenario \x1b[2J\n"])
def test_bad_usage_is_escaped(args: str) -> None:
    code, _, err = run(*args.split(" "))
    assert code == 2
    assert [c for c in err[:-1] if not c.isprintable()] == []


def test_without_a_command_the_help_is_printed() -> None:
    code, out, err = run()
    assert (code, out) == (2, "")
    assert err.startswith("Usage: esps-portal ")


@pytest.mark.parametrize(
    ("args", "option"),
    [
        ("ping --timeout nan", "'--timeout'"),
        ("ping --timeout inf", "'--timeout'"),
        ("ping -i nan", "'--interval'"),
        ("ping -i inf", "'--interval'"),
        ("ping -i -1", "'--interval'"),
        ("list --timeout nan", "'--timeout'"),
        ("call --timeout nan echo", "'--timeout'"),
        ("call --timeout inf echo", "'--timeout'"),
        ("inspect --timeout nan", "'--timeout'"),
        ("inspect --timeout inf", "'--timeout'"),
    ],
)
def test_seconds_must_be_finite(args: str, option: str) -> None:
    code, out, err = run(*args.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert option in err
    assert args.split()[2] in err


@pytest.mark.parametrize("host", ["", " ", "*", "a b", "a\nb", b"\xff", "a..b", "a" * 70])
@pytest.mark.parametrize("command", ["serve", "inspect"])
def test_what_is_not_a_host(command: str, host: str | bytes) -> None:
    code, out, err = run(command, "--host", host)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"esps-portal {command}: Invalid value for '--host': ")
    assert " is not a host" in err


def test_errors_are_raised_without_standalone_mode() -> None:
    """With ``standalone_mode=False`` the group raises, as click documents it."""
    with pytest.raises(click.UsageError):
        main(["nonsense"], standalone_mode=False)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        ("3000", "; write --port 3000"),
        (":3000", "; write --port 3000"),
        ("0.0.0.0:3000", "; write --host 0.0.0.0 --port 3000"),
        ("[::1]:3000", "; write --host ::1 --port 3000"),
        ("::1", "; write --host ::1"),
        ("localhost", "; write --host localhost"),
        ("127.0.0.1 3000", ""),
        ("word", ""),
        ("http://x", ""),
    ],
)
@cases("command", ["serve", "proxy --upstream esps://127.0.0.1"])
def test_an_address_without_its_options_has_a_hint(command: str, args: str, hint: str) -> None:
    code, out, err = run(*command.split(), *args.split())
    name = f"esps-portal {command.split(maxsplit=1)[0]}"
    assert (code, out) == (2, "")
    assert err == f"{name}: Got unexpected argument '{args}'{hint}; see {name} --help\n"


@pytest.mark.parametrize(
    ("args", "suggested"),
    [
        ("serve -p 3000", "'--port' or '--proxy-protocol'"),
        ("serve -p3000", "'--port' or '--proxy-protocol'"),
        ("serve -H ::", "'--host'"),
        ("proxy -p 3000", "'--pcap' or '--port'"),
        ("inspect -p 3000", "'--port'"),
        ("call -t 1 echo", "'--timeout'"),
    ],
)
def test_a_short_option_of_other_tools_has_a_suggestion(args: str, suggested: str) -> None:
    code, _, err = run(*args.split())
    assert code == 2
    assert f" (did you mean {suggested}?)" in err
    assert "did you mean" not in run("serve", "-x")[2]


@pytest.mark.parametrize("args", ["-p 3000 -- true", "--port 3000 true", "--host=:: true"])
def test_run_says_where_it_listens(args: str) -> None:
    code, out, err = run("run", *args.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "run chooses a free port of 127.0.0.1, and CMD gets it as ESPS_PORTAL_PORT" in err


def test_an_ellipsis_at_the_end_of_an_error_stays_whole() -> None:
    upstream = "--upstream tcp://127.0.0.1:1"
    code, _, error = run("proxy", *upstream.split(), "--fault", "reset service=x")
    assert code == 2
    assert "match=...; see" in error


@pytest.mark.parametrize("command", ["inspect", "serve", "proxy", "peer"])
def test_the_default_of_a_port_stands_in_the_help_without_brackets_of_its_own(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert "default: (" not in out
    assert "default" in out.split("--port ")[-1].split("--")[0]
