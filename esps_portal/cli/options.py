"""Options that commands share, and their types."""

from __future__ import annotations

import functools
import gc
import math
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any, NoReturn, Protocol, TypeAlias, TypeVar

import attrs
import click
from click.core import ParameterSource

from esps_portal.cli.option_headings import write_options
from esps_portal.given_numbers import read_integer, read_number, shown_value
from esps_portal.protocol.urls import PortalURL

DEFAULT_URL = "esps://127.0.0.1:2867"
#: Seconds to connect, for every command.
CONNECT_TIMEOUT = 10.0
_MAX_PORT = 65535


class TargetType(click.ParamType[PortalURL]):
    """The address of a portal: HOST, HOST:PORT, [::1]:PORT or a URL."""

    name = "target"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> PortalURL:
        """Return the URL."""
        try:
            return PortalURL.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class HostType(click.ParamType[str]):
    """A host name or address; only its form is checked."""

    name = "host"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the host."""
        host = str(value)
        if ":" in host and not _is_address(host):
            self._fail_with_port(host, param, ctx)
        if host == "*":
            self.fail("'*' is not a host: all addresses are 0.0.0.0 and ::", param, ctx)
        if not host or any(c.isspace() or not c.isprintable() for c in host):
            self.fail(f"{host!r} is not a host name or address", param, ctx)
        try:
            host.encode("idna")  # as resolving does
        except UnicodeError:
            self.fail(f"{host!r} is not a host name", param, ctx)
        return host

    def _fail_with_port(
        self, text: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> NoReturn:
        """Fail for a host with a port, or a URL, and say how to write it."""
        try:
            url = PortalURL.parse(text)
        except ValueError:
            self.fail(f"{text!r} is not a host name or address", param, ctx)
        instead = f"{url.host}{_port_option(text, url)}"
        self.fail(f"expected only a host, got {text!r}; write {instead}", param, ctx)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@attrs.frozen
class ListenAddress:
    """Where to listen besides the portal's own port.

    Attributes:
        port: 0 for a free one.
    """

    host: str
    port: int


class ListenAddressType(click.ParamType[ListenAddress]):
    """PORT, on loopback, or HOST:PORT."""

    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> ListenAddress:
        """Return the address."""
        if isinstance(value, ListenAddress):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon:
            host = "127.0.0.1"
        elif host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            self.fail(f"put an IPv6 address in brackets, as in [::1]:{port or 'PORT'}", param, ctx)
        number = read_integer(port)
        if number is None or not 0 <= number <= _MAX_PORT:
            self.fail(
                f"{shown_value(value)} is not an address: write PORT or HOST:PORT", param, ctx
            )
        return ListenAddress(HostType().convert(host, param, ctx), number)


class Integer(click.IntRange):
    """An integer in decimal digits; click's ranges take all that Python does: ``1_0``, ``٣``."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the number."""
        if isinstance(value, str) and read_integer(value) is None:
            self.fail(f"{shown_value(value)} is not a valid integer", param, ctx)
        return int(super().convert(value, param, ctx))


class Seconds(click.FloatRange):
    """A finite number of seconds; click's ranges accept nan, and inf if they have no maximum."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        """Return the number."""
        number = read_number(value) if isinstance(value, str) else value
        if number is None or not math.isfinite(number):
            self.fail(f"{shown_value(value)} is not a finite number of seconds", param, ctx)
        return float(super().convert(number, param, ctx))


_Decorated = TypeVar("_Decorated", bound=Callable[..., Any] | click.Command)


class Option(Protocol):
    """Adds an option to a command."""

    def __call__(self, command: _Decorated, /) -> _Decorated:
        """Return the command with the option."""


#: Adds options to a command, which gets them as one object.
OptionGroup: TypeAlias = Callable[[Callable[..., None]], Callable[..., None]]


def add_options(command: Callable[..., None], options: Iterable[Option]) -> Callable[..., None]:
    """Return a command with some options, which its help lists in this order."""
    for option in reversed(tuple(options)):
        command = option(command)
    return command


def add_option_group(
    name: str, group: type[attrs.AttrsInstance], options: Iterable[Option]
) -> OptionGroup:
    """Return a decorator that adds options, which the command gets as one object.

    Args:
        name: of the command's parameter for it.
        group: an attrs class; each option is a field of it.
        options: in the order of the help.
    """
    fields = {field.name for field in attrs.fields(group)}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**given: Any) -> None:  # noqa: ANN401 - all options of the command
            grouped = {key: given.pop(key) for key in fields & given.keys()}
            command(**{name: group(**grouped)}, **given)

        return add_options(wrapper, options)

    return decorate


url_option: Option = click.option(
    "--url",
    type=TargetType(),
    metavar="TARGET",
    envvar="ESPS_PORTAL_URL",
    default=DEFAULT_URL,
    show_default=True,
    show_envvar=True,
    help="The portal: HOST, HOST:PORT, [::1]:PORT, esps://HOST:PORT (TCP), esps+tls://HOST:PORT"
    " (TLS), esps+udp://HOST:PORT.",
)
target_argument: Option = click.argument("target", required=False, type=TargetType())
json_option: Option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines, for a program."
)


def timeout_option(
    text: str,
    default: float | None = None,
    *,
    most: float | None = None,
    metavar: str | None = None,
) -> Option:
    """Return ``-W``, as ping(8) calls it.

    Args:
        text: what these seconds are for.
        default: seconds; `None`: the text says what then counts.
        most: seconds; `None`: any number of them.
    """
    return click.option(
        "-W",
        "--timeout",
        type=Seconds(min=0, max=most, min_open=True),
        default=default,
        show_default=default is not None,
        metavar=metavar,
        help=text,
    )


reply_timeout_option: Option = timeout_option("Seconds to wait for a reply.", CONNECT_TIMEOUT)


class ServerCommand(click.Command):
    """A command with --host and --port; for an address without them, its error says what to write.

    Other servers take an address as an argument.
    """

    allow_extra_args = True

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help of its options, by what they are about."""
        write_options(self.get_params(ctx), ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, of which a server takes none.

        Raises:
            click.UsageError: there is an argument.
        """
        super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            extra = " ".join(ctx.args)
            hint = _address_options(extra)
            raise click.UsageError(f"Got unexpected argument {extra!r}{hint}", ctx)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's signature
        """Run the command."""
        # Of what it imports nothing is garbage. To look for some takes 10 to 20 ms of some 200.
        # `ForegroundServer` lets Python look again once it listens.
        gc.disable()
        try:
            return super().invoke(ctx)
        finally:
            gc.enable()


def _address_options(text: str) -> str:
    """Return the hint to give an address as options; empty if it does not look like one."""
    port = text.removeprefix(":")
    if port.isascii() and port.isdigit():
        return f"; write --port {port}"
    try:
        url = PortalURL.parse(text)
    except ValueError:
        return ""
    if text.isidentifier() and text != "localhost":
        return ""  # a word
    return f"; write --host {url.host}{_port_option(text, url)}"


def _port_option(text: str, url: PortalURL) -> str:
    """Return the option for the port of an address, with a space before it, if it has one."""
    port = text.rpartition("]")[2].rpartition(":")[2]
    return f" --port {url.port}" if port.isdigit() and not _is_address(text) else ""


def resolve_target(target: PortalURL | None, url: PortalURL) -> PortalURL:
    """Return the URL of the portal: TARGET if it was given, else --url.

    Raises:
        click.UsageError: both were given.
    """
    if target is None:
        return url
    if click.get_current_context().get_parameter_source("url") == ParameterSource.COMMANDLINE:
        raise click.UsageError("give TARGET or --url, not both")
    return target
