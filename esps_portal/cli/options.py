"""The options that commands share, and the types of what is given for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NoReturn, Protocol, TypeVar

import click
from click.core import ParameterSource

from esps_portal.protocol.urls import PortalURL

DEFAULT_URL = "esps://127.0.0.1:2867"
#: Seconds that connecting may take, whatever is asked then.
CONNECTING = 10.0


class TargetType(click.ParamType[str]):
    """What names a portal: HOST, HOST:PORT, [::1]:PORT or a URL. Its value is the URL."""

    name = "target"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the URL."""
        try:
            named = PortalURL.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if named.transport == "tls":
            plain = PortalURL("tcp", named.host, named.port)
            self.fail(f"TLS is not available in this release; write {plain}", param, ctx)
        return str(named)


class HostType(click.ParamType[str]):
    """A host name or an address, checked for its form alone."""

    name = "host"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the host, if it may be one."""
        host = str(value)
        if ":" in host and not _is_address(host):
            self._fail_with_port(host, param, ctx)
        if not host or any(c.isspace() or not c.isprintable() for c in host):
            self.fail(f"{host!r} is not the name or address of a host", param, ctx)
        try:
            host.encode("idna")  # as every look-up does
        except UnicodeError:
            self.fail(f"{host!r} is not the name of a host", param, ctx)
        return host

    def _fail_with_port(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        """Say how to write what names a host, and perhaps a port, as elsewhere."""
        try:
            named = PortalURL.parse(text)
        except ValueError:
            self.fail(f"{text!r} is not the name or address of a host", param, ctx)
        port = text.rpartition("]")[2].rpartition(":")[2]
        with_port = f" --port {named.port}" if port.isdigit() else ""
        self.fail(f"{text!r} is more than a host; write {named.host}{with_port}", param, ctx)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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
    type=TargetType(),
    metavar="TARGET",
    envvar="ESPS_PORTAL_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="The portal: HOST, HOST:PORT, [::1]:PORT, esps://HOST:PORT (TCP), esps+udp://HOST:PORT.",
)
target_argument: Option = click.argument("target", required=False, type=TargetType())
json_option: Option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON for a program."
)
timeout_option: Option = click.option(
    "-W",
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=CONNECTING,
    show_default=True,
    help="Seconds to wait for an answer.",
)


def portal_named(target: str | None, url: str) -> str:
    """Return the URL of the portal that TARGET or --url names.

    Raises:
        click.UsageError: both were given.
    """
    if target is None:
        return url
    if click.get_current_context().get_parameter_source("url") == ParameterSource.COMMANDLINE:
        raise click.UsageError("the portal is named twice: give TARGET or --url")
    return target
