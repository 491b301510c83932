"""The command ``esps-portal``: arguments in, calls, words out.

Each command lives in a module of its own, which is imported when it is needed: nobody who asks
for help waits for a network library.
"""

from __future__ import annotations

import importlib

import click

from esps_portal import __version__

# Command to module and attribute, in the order of the help.
_COMMANDS = {
    "serve": ("serve", "serve_command"),
    "run": ("run", "run_command"),
    "ping": ("ping", "ping_command"),
    "list": ("calls", "list_command"),
    "call": ("calls", "call_command"),
    "inspect": ("inspect", "inspect_command"),
    "spec": ("spec", "spec_command"),
}


class _LazyGroup(click.Group):
    """Imports a command's module when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above says so
        return command


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Exit codes: 0 done, 1 the thing asked about failed, 2 bad usage.",
)
@click.version_option(__version__, prog_name="esps-portal")
def main() -> None:
    """A real TCP and UDP peer on port 2867, and tools to talk to it.

    Start a portal with "esps-portal serve", then in another terminal
    "esps-portal call echo hello". What it speaks is ESPS/1: see
    "esps-portal spec".

    Completion: eval "$(_ESPS_PORTAL_COMPLETE=bash_source esps-portal)",
    or zsh_source, or fish_source.
    """
