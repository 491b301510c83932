"""The options of a server in the foreground: where it listens, and what it reports.

`serve`, `proxy` and `peer` share them. The command gets them as one `ListenOptions`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.options import HostType, Integer, Option, add_options
from esps_portal.protocol.registry import PORT

if TYPE_CHECKING:
    from esps_portal.cli.reports import Reports

_HOST_OPTION: Option = click.option(
    "--host",
    "hosts",
    type=HostType(),
    multiple=True,
    default=("127.0.0.1",),
    show_default=True,
    help="Name or address to listen on; may be repeated.",
)


def _port_option(default_text: str) -> Option:
    option: Option = click.option(
        "--port",
        type=Integer(0, 65535),
        default=PORT,
        show_default=not default_text,
        help=f"Port for TCP and UDP; 0 chooses one that is free for both{default_text}.",
    )
    return option


def _udp_option(*, text: str) -> Option:
    option: Option = click.option("--udp/--no-udp", default=None, help=text)
    return option


_NO_TCP_OPTION: Option = click.option("--no-tcp", is_flag=True, help="Do not listen on TCP.")
_OTHER_OPTIONS: tuple[Option, ...] = (
    click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines."),
    click.option(
        "--access-log/--no-access-log",
        default=None,
        help="Log each request on standard error; the default if that is a terminal.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(("debug", "info", "warning", "error")),
        default="info",
        show_default=True,
        help="How much to log on standard error.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(("text", "json")),
        default="text",
        show_default=True,
        help="Format of standard error, including the access log; json: one object per line.",
    ),
)


@attrs.frozen
class ListenOptions:
    """Where a server listens, and what it reports.

    Attributes:
        hosts: names and addresses.
        port: for TCP and UDP; 0 for a free one.
        tcp: whether to listen on TCP.
        udp: the same for UDP; ``None`` if neither form of the option was given.
        as_json: events on standard output, for a program.
        access_log: log each request; ``None`` if neither form of the option was given.
        log_level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``text`` or ``json``.
    """

    hosts: tuple[str, ...]
    port: int
    tcp: bool
    udp: bool | None
    as_json: bool
    access_log: bool | None
    log_level: str
    log_format: str

    def start_reports(self) -> Reports:
        """Start logging, and return what reports as these options say."""
        from esps_portal.cli.reports import (  # noqa: PLC0415 - help must not wait for trio
            Reports,
            start_logging,
        )

        log = start_logging(self.log_level, self.log_format)
        return Reports.of(log, as_json=self.as_json, access_log=self.access_log)


def listen_options(
    *,
    default_port: str = "",
    udp_help: str = "Listen on UDP; the default, except beside TLS.",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of `ListenOptions`; the command gets them as ``listen``.

    Args:
        default_port: what the help says of the default; empty: the number.
        udp_help: the help of --udp.
    """
    options = (
        _HOST_OPTION,
        _port_option(f", {default_port}" if default_port else ""),
        _NO_TCP_OPTION,
        _udp_option(text=udp_help),
        *_OTHER_OPTIONS,
    )
    return functools.partial(_add_listen_options, options)


def _add_listen_options(
    options: Sequence[Option], command: Callable[..., None]
) -> Callable[..., None]:
    @functools.wraps(command)
    def wrapper(  # noqa: PLR0913 - click passes each option as a parameter
        *,
        hosts: tuple[str, ...],
        port: int,
        no_tcp: bool,
        udp: bool | None,
        as_json: bool,
        access_log: bool | None,
        log_level: str,
        log_format: str,
        **others: Any,  # noqa: ANN401 - the command's other options
    ) -> None:
        listen = ListenOptions(
            hosts, port, not no_tcp, udp, as_json, access_log, log_level, log_format
        )
        command(listen=listen, **others)

    return add_options(wrapper, options)
