"""The command ``esps-portal``.

Each command has a module of its own, imported when it is needed: --help does not wait for a network
library.

- `serve`, `proxy`, `peer`: their options make a `scripted_server` or an `exchange_server`, which
  `server_runner` runs until a signal; `reports` writes events and the log meanwhile.
- `run`: the same, with its `proxies_and_peers`, as long as a `child_command` runs.
- `calls`, `ping`, `connect`: a client, by way of `session`.
- `options` has what commands share, `errors` and `output` what they print, and how they end.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from esps_portal import __version__
from esps_portal.cli.errors import (
    INTERRUPTED,
    NO_DESCRIPTOR,
    READER_GONE,
    did_you_mean,
    has_no_descriptor,
    print_error,
    ungrouped,
    usage_line,
)
from esps_portal.cli.output import CannotWriteError, flush_stderr, guard_stdout

# Set by a shell that asks for a completion.
_COMPLETION = "_ESPS_PORTAL_COMPLETE"

#: The module and attribute of each command, in the order of --help.
COMMANDS = {
    "serve": ("serve", "serve_command"),
    "run": ("run", "run_command"),
    "proxy": ("proxy", "proxy_command"),
    "peer": ("peer", "peer_command"),
    "ping": ("ping", "ping_command"),
    "list": ("calls", "list_command"),
    "call": ("calls", "call_command"),
    "connect": ("connect", "connect_command"),
    "inspect": ("inspect", "inspect_command"),
    "conformance": ("conformance", "conformance_command"),
    "deploy": ("deploy", "deploy_command"),
    "signature": ("signature", "signature_command"),
    "guide": ("guide", "guide_command"),
    "spec": ("spec", "spec_command"),
}

# The first line of the help of each, for which --help would have to import them all.
_SUMMARIES = {
    "serve": "Serve a portal with all built-in services.",
    "run": "Run CMD, such as a test suite, with a portal, proxies, peers.",
    "proxy": "Relay everything to a server of any protocol, with faults.",
    "peer": "Play the server of any protocol, from stubs or a recording.",
    "ping": "Ping a portal until Ctrl-C, and print statistics.",
    "list": "Show the services of a portal, or describe one SERVICE.",
    "call": "Call SERVICE with ARGS and print the reply.",
    "connect": "Connect to a portal, and type requests to it.",
    "inspect": "Show who uses a port, and whether it speaks ESPS/1.",
    "conformance": "Check servers and clients against the text of ESPS/1.",
    "deploy": "Print the files to run a portal with, or write them.",
    "signature": "Print a signature of ESPS/1 for another tool.",
    "guide": "Print a guide to the fixtures, faults, control and more.",
    "spec": "Print the specification of ESPS/1, and what belongs to it.",
}


class _LazyGroup(click.Group):
    """Imports the module of a command on demand, and prints each error in one line.

    `main` is the one place that turns exceptions into messages and exit codes.
    """

    def main(  # type: ignore[override]  # click has overloads for standalone_mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's signature
        **extra: Any,  # noqa: ANN401 - the same
    ) -> object:
        """Run the command in the arguments, and exit with its code."""
        if _COMPLETION in os.environ:
            _replace_completions()
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        guard_stdout()
        try:
            with ungrouped(CannotWriteError):
                code: object = run()
            if sys.stdout is not None:
                sys.stdout.flush()
        except (KeyboardInterrupt, click.Abort):
            sys.exit(INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.ClickException as error:
            print_error(usage_line(error))
            sys.exit(error.exit_code)
        except CannotWriteError as error:
            sys.exit(_report_write_error(error))
        except BaseException as error:
            if not has_no_descriptor(error):
                raise
            print_error(f"esps-portal: {NO_DESCRIPTOR}")
            sys.exit(1)
        finally:
            flush_stderr()
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command; unlike click, print nothing after Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            command = self.get_command(ctx, name) if name else None
            if error.ctx is None and command is not None:  # click's parser leaves the command out
                error.ctx = click.Context(command, ctx, name)
            raise

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write what each command does, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            if cmd_name.startswith("-") or ctx.resilient_parsing:
                return None  # an option, or a word to complete
            suggestion = did_you_mean(difflib.get_close_matches(cmd_name, COMMANDS))
            raise click.UsageError(f"No such command {cmd_name!r}{suggestion}", ctx)
        module, attribute = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)  # noqa: S101 - for the type checker
        return command


def _replace_completions() -> None:
    """Have click complete for these shells as their modules say."""
    for shell in ("bash", "zsh"):
        importlib.import_module(f"{__name__}.{shell}_completion")


def _report_write_error(error: CannotWriteError) -> int:
    """Print the error, unless the reader is gone; return the exit code."""
    if error.reason:
        print_error(f"esps-portal: {error}")
        return 1
    return READER_GONE


@click.group(
    "esps-portal",
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
    epilog="Exit codes: 0 success, 1 failure, 2 bad usage, 130 Ctrl-C, "
    "141 the reader of the output is gone.",
)
@click.version_option(__version__, prog_name="esps-portal")
def main() -> None:
    """A real TCP and UDP peer for tests, in three roles.

    \b
    esps-portal serve                       a portal: its own protocol, ESPS/1
    esps-portal proxy --upstream tcp://...  in front of a real server
    esps-portal peer --framing lines:crlf   plays a server of any protocol

    "call", "ping" and "list" talk to a portal; "guide" has examples for tests
    and for each role, "spec" the protocol.

    Shell completion: eval "$(_ESPS_PORTAL_COMPLETE=bash_source esps-portal)",
    or zsh_source, or fish_source.
    """  # noqa: D301 - click needs the character itself before a block that keeps its lines
