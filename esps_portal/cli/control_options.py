"""The options of the control port: ``--control``, and who may use it.

`serve`, `proxy` and `peer` share them. The command gets them as one `ControlOptions`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from esps_portal.cli.completion import complete_file
from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import ListenAddress, ListenAddressType, Option, add_options

if TYPE_CHECKING:
    import trio

    from esps_portal.control.controls import ServerControls
    from esps_portal.control.named_servers import NamedServers
    from esps_portal.net.bind import CannotBindError

#: The variable that has the token.
TOKEN_VARIABLE = "ESPS_PORTAL_CONTROL_TOKEN"  # noqa: S105 - its name, not the token
# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
# Characters: no request with a longer one is read (`http_connection`), and a file may never end.
_MAX_TOKEN_FILE = 16_384
_ALLOWED = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class AllowedHost(click.ParamType[str]):
    """A host as a client may call it, with a port or without."""

    name = "host"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None, /
    ) -> str:
        """Return the host, checked."""
        if _ALLOWED.fullmatch(str(value)) is None:
            self.fail(f"{value!r} is not NAME or NAME:PORT", param, ctx)
        return str(value)


_OPTIONS: tuple[Option, ...] = (
    click.option(
        "--control",
        type=ListenAddressType(),
        is_flag=False,
        flag_value="0",
        default=None,
        metavar="[[HOST:]PORT]",
        help="Open a control port (HTTP and JSON), for tests in any language; on loopback, and"
        " without PORT on a free one.",
    ),
    click.option(
        "--control-host",
        "control_hosts",
        type=AllowedHost(),
        multiple=True,
        metavar="NAME[:PORT]",
        help="A name by which clients may call the control port, besides localhost and its"
        " address; may be repeated.",
    ),
    click.option(
        "--control-token-file",
        type=click.Path(path_type=Path),
        shell_complete=complete_file,
        metavar="FILE",
        help="Accept only clients of the control port that send the token of FILE (Authorization:"
        f" Bearer TOKEN); also ${TOKEN_VARIABLE}. Needed beyond loopback.",
    ),
)


@attrs.frozen
class ControlOptions:
    """The options of the control port, as given.

    Attributes:
        host, port: where it listens; port 0 is a free one.
        hosts: what clients may call it besides.
        token: what they have to show; ``None``: nothing.
    """

    host: str = "127.0.0.1"
    port: int = 0
    hosts: tuple[str, ...] = ()
    token: str | None = attrs.field(default=None, repr=False)

    async def open(
        self, nursery: trio.Nursery, main: ServerControls, beside: Mapping[str, NamedServers]
    ) -> str:
        """Open the control port; return its URL.

        Args:
            nursery: runs it.
            main: the server that is controlled.
            beside: the servers beside it; see `servers_beside`.

        Raises:
            CannotBindError: the port cannot be bound.
        """
        from esps_portal.control.root import ControlRoot  # noqa: PLC0415 - the same
        from esps_portal.control.serving import (  # noqa: PLC0415 - help must not wait for it
            ControlConfig,
            serve_control,
        )

        config = ControlConfig(
            host=self.host, port=self.port, allowed_hosts=self.hosts, token=self.token
        )
        url: str = await nursery.start(serve_control, config, ControlRoot(main, beside))
        return url


def option_of_port(error: CannotBindError, control: ControlOptions | None) -> str:
    """Return the option that a port came from which cannot be bound."""
    is_control = control is not None and error.port == control.port
    return "--control" if is_control else "--port"


def control_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options; the command gets a `ControlOptions` as ``control``, or ``None``."""

    @functools.wraps(command)
    def wrapper(
        *,
        control: ListenAddress | None,
        control_hosts: tuple[str, ...],
        control_token_file: Path | None,
        **others: Any,  # noqa: ANN401 - the command's other options
    ) -> None:
        if control is None:
            if control_hosts or control_token_file:
                raise click.UsageError("--control-host and --control-token-file need --control")
            command(control=None, **others)
            return
        token = _token(control_token_file)
        options = ControlOptions(control.host, control.port, control_hosts, token)
        command(control=_checked(options), **others)

    return add_options(wrapper, _OPTIONS)


def _token(file: Path | None) -> str | None:
    """Return the token of the file or of the environment."""
    if file is None:
        found, source = os.environ.get(TOKEN_VARIABLE), TOKEN_VARIABLE
    else:
        source = str(file)
        try:
            with file.open(encoding="utf-8") as opened:
                text = opened.read(_MAX_TOKEN_FILE + 1)
            found = text.strip() if len(text) <= _MAX_TOKEN_FILE else ""
        except OSError as error:
            exit_with_error(f"{file}: {error.strerror}")
        except UnicodeDecodeError:
            found = ""
    if found is not None and _TOKEN.fullmatch(found) is None:
        raise click.UsageError(
            f"{source} has no token: letters, digits and . _ ~ + / - are allowed"
        )
    return found


def _checked(options: ControlOptions) -> ControlOptions:
    from esps_portal.net.addresses import is_loopback  # noqa: PLC0415 - help must not wait

    if options.token is None and not is_loopback(options.host):
        raise click.UsageError(
            f"--control on {options.host} is beyond loopback: it needs a token, by"
            f" --control-token-file or ${TOKEN_VARIABLE}"
        )
    return options
