"""The options that commands share, and the types of what is given for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import click

from esps_portal.protocol.urls import PortalURL

DEFAULT_URL = "esps://127.0.0.1:2867"
#: Seconds that connecting may take, whatever is asked then.
CONNECTING = 10.0


class URLType(click.ParamType[str]):
    """A portal's URL; usage errors show what one looks like."""

    name = "url"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the URL, if it is one."""
        try:
            return str(PortalURL.parse(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostType(click.ParamType[str]):
    """A host name or an address, checked for its form alone."""

    name = "host"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the host, if it may be one."""
        host = str(value)
        if not host or any(c.isspace() or not c.isprintable() for c in host):
            self.fail(f"{host!r} is not the name or address of a host", param, ctx)
        try:
            host.encode("idna")  # as every look-up does
        except UnicodeError:
            self.fail(f"{host!r} is not the name of a host", param, ctx)
        return host


class Seconds(click.FloatRange):
    """A number of seconds; click's ranges let nan pass, and inf where they are open."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number, if it is one and in the range."""
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return seconds


_Decorated = TypeVar("_Decorated", bound=Callable[..., Any] | click.Command)


class Option(Protocol):
    """Adds an option to a command."""

    def __call__(self, command: _Decorated, /) -> _Decorated:
        """Return the command with it."""


url_option: Option = click.option(
    "--url",
    type=URLType(),
    envvar="ESPS_PORTAL_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="The portal: esps://HOST[:PORT] (TCP) or esps+udp://HOST[:PORT].",
)
json_option: Option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for a program."
)
timeout_option: Option = click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=CONNECTING,
    show_default=True,
    help="Seconds to wait for an answer.",
)
