"""How the arguments of a reply line are printed: for a person, as bytes, as JSON."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable

import click

from esps_portal.cli.output import escaped, is_terminal, print_json

#: Prints the arguments of a reply line of kind ``data`` or ``ok``.
PrintReply = Callable[[str, tuple[bytes, ...]], None]


def print_text(kind: str, row: tuple[bytes, ...]) -> None:
    """Print the arguments separated by spaces, escaped; on a terminal those of an OK are bold."""
    line = " ".join(escaped(arg) for arg in row)
    if kind == "data":
        click.echo(line)
    elif row:
        click.echo(click.style(line, bold=True) if _has_style() else line)


def _has_style() -> bool:
    # https://no-color.org: NO_COLOR counts if it is set and not empty.
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def print_raw(_: str, row: tuple[bytes, ...]) -> None:
    """Print the bytes with nothing between or after them; on a terminal they are escaped."""
    data = b"".join(row)
    if is_terminal():  # which untrusted control bytes must not reach
        data = b"\n".join(escaped(line).encode() for line in data.split(b"\n"))
    click.echo(data, nl=False)


def print_reply_json(kind: str, row: tuple[bytes, ...]) -> None:
    """Print one JSON object with the kind and the arguments."""
    print_json({"type": kind, "args": [_as_json(arg) for arg in row]})


def _as_json(arg: bytes) -> object:
    """Return UTF-8 as a string, other bytes as ``{"b64": ...}``."""
    try:
        return arg.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(arg).decode()}
