"""The headings of the option lists in the help of a server's command.

``serve``, ``proxy`` and ``peer`` share most options, and have too many for one list.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

#: For each heading the options below it, by their long names, in the order of the help.
HEADINGS: dict[str, tuple[str, ...]] = {
    "What is served": (
        "--upstream",
        "--framing",
        "--reply-framing",
        "--greeting",
        "--scenario",
        "--name",
        "--replay",
        "--fault",
        "--limit",
    ),
    "Address": ("--host", "--port", "--no-tcp", "--udp", "--reuse-port"),
    "Connections": ("--require-hello", "--proxy-protocol"),
    "TLS": ("--tls-cert", "--tls-key", "--tls-client-ca", "--tls-self-signed", "--upstream-ca"),
    "Control and metrics": (
        "--control",
        "--control-host",
        "--control-token-file",
        "--metrics",
    ),
    "Output": (
        "--json",
        "--record",
        "--pcap",
        "--access-log",
        "--log-level",
        "--log-format",
    ),
    "Other": ("--help",),
}


def write_options(
    parameters: Sequence[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write the help of a command's options, each below its heading."""
    by_name = {name: each for each in parameters for name in each.opts}
    for heading, names in HEADINGS.items():
        records = [by_name[name].get_help_record(ctx) for name in names if name in by_name]
        rows = [record for record in records if record is not None]
        if rows:
            with formatter.section(heading):
                formatter.write_dl(rows)
