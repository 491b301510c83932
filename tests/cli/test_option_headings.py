"""The help of a server's command lists each option once, below a heading."""

from __future__ import annotations

import click
import pytest

from esps_portal.cli.option_headings import HEADINGS
from esps_portal.cli.peer import peer_command
from esps_portal.cli.proxy import proxy_command
from esps_portal.cli.serve import serve_command
from tests.commands import run

COMMANDS = {"serve": serve_command, "proxy": proxy_command, "peer": peer_command}


def options_of(command: click.Command) -> set[str]:
    return {max(parameter.opts, key=len) for parameter in command.params}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_below_one_heading(name: str) -> None:
    listed = [option for names in HEADINGS.values() for option in names]
    assert len(listed) == len(set(listed))
    options = options_of(COMMANDS[name])
    assert options <= set(listed)
    _, out, _ = run(name, "--help")
    below = out.partition(f"\n{next(iter(HEADINGS))}:")[2]
    shown = [line.split()[0] for line in below.splitlines() if line.startswith("  --")]
    assert sorted(shown) == sorted(options)


def test_each_name_is_an_option() -> None:
    options = set().union(*map(options_of, COMMANDS.values()))
    assert {option for names in HEADINGS.values() for option in names} - options <= {"--help"}


def test_the_headings_stand_in_their_order() -> None:
    _, out, _ = run("serve", "--help")
    found = [line[:-1] for line in out.splitlines() if line.removesuffix(":") in HEADINGS]
    assert found == list(HEADINGS)
