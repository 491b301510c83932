"""The options of TLS: which certificate a server has, and which ones a client trusts.

A server gets them as one `ServerTLSOptions`, a command that calls a portal as one
`ClientTLSOptions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import click

from esps_portal.cli.completion import complete_file
from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.options import Option, OptionGroup, add_option_group
from esps_portal.cli.reloading import CannotReloadError, Reload

if TYPE_CHECKING:
    import ssl

    from esps_portal.net.tls_server import ServerTLS
    from esps_portal.protocol.urls import PortalURL


def _file_option(name: str, text: str) -> Option:
    field = name.removeprefix("--").removeprefix("tls-").replace("-", "_")
    option: Option = click.option(
        name, field, metavar="FILE", shell_complete=complete_file, help=text
    )
    return option


# ---- a server ----------------------------------------------------------------------------------

_SERVER_OPTIONS: tuple[Option, ...] = (
    _file_option("--tls-cert", "Serve TCP as TLS, with the certificate in this PEM file."),
    _file_option("--tls-key", "The private key of --tls-cert, in PEM, not encrypted."),
    _file_option(
        "--tls-client-ca",
        "Require of each client a certificate of a CA in this PEM file.",
    ),
    click.option(
        "--tls-self-signed",
        "is_own",
        is_flag=True,
        help="Serve TCP as TLS, with a certificate of a new CA; its file is printed. For tests.",
    ),
)


@attrs.frozen
class ServerTLSOptions:
    """The TLS options of a server, as given.

    Attributes:
        cert, key, client_ca: the files.
        is_own: the server makes a certificate of its own.
    """

    cert: str | None
    key: str | None
    client_ca: str | None
    is_own: bool

    @property
    def are_given(self) -> bool:
        """Whether any of the options was given."""
        return self.is_own or (self.cert, self.key, self.client_ca) != (None, None, None)

    def make(self, hosts: Iterable[str], *, is_esps: bool = True) -> ServerTLS | None:
        """Return what the server needs; `None` if it is to be plain.

        Args:
            hosts: names and addresses of the server.
            is_esps: it speaks ESPS/1.

        Raises:
            click.UsageError: the options do not go together.
            click.exceptions.Exit: a file cannot be used, which was reported.
        """
        if self.is_own:
            return self._make_own(hosts, is_esps=is_esps)
        if self.cert is None:
            if self.key is not None or self.client_ca is not None:
                given = "--tls-client-ca" if self.key is None else "--tls-key"
                raise click.UsageError(f"{given} needs --tls-cert")
            return None
        if self.key is None:
            raise click.UsageError("--tls-cert needs --tls-key")
        from esps_portal.net.tls_contexts import TLSFileError  # noqa: PLC0415 - help must not wait
        from esps_portal.net.tls_server import ServerTLS  # noqa: PLC0415 - the same
        from esps_portal.server.portal_tls import portal_tls  # noqa: PLC0415 - the same

        try:
            context = self._context(is_esps=is_esps)
        except TLSFileError as error:
            exit_with_error(str(error))
        return portal_tls(context) if is_esps else ServerTLS(context)

    def _make_own(self, hosts: Iterable[str], *, is_esps: bool) -> ServerTLS:
        if self.cert or self.key or self.client_ca:
            raise click.UsageError("give --tls-self-signed or the files of a certificate, not both")
        from esps_portal.net.authority import MissingExtraError  # noqa: PLC0415 - help must not wait
        from esps_portal.net.tls_server import own_tls  # noqa: PLC0415 - the same
        from esps_portal.server.portal_tls import own_portal_tls  # noqa: PLC0415 - the same

        try:
            return own_portal_tls(hosts) if is_esps else own_tls(hosts)
        except MissingExtraError as error:
            exit_with_error(str(error))

    def reloads(self, tls: ServerTLS | None, *, is_esps: bool = True) -> list[Reload]:
        """Return what SIGHUP reloads; the arguments are what `make` has returned and was given."""
        if tls is None or self.is_own:
            return []
        return [partial(self._reload, tls, is_esps=is_esps)]

    def _context(self, *, is_esps: bool) -> ssl.SSLContext:
        from esps_portal.net.tls_contexts import server_context  # noqa: PLC0415 - help must not wait
        from esps_portal.protocol.registry import ALPN  # noqa: PLC0415 - the same

        assert self.cert is not None  # noqa: S101 - `make` has checked it
        assert self.key is not None  # noqa: S101 - the same
        return server_context(self.cert, self.key, self.client_ca, ALPN if is_esps else "")

    def _reload(self, tls: ServerTLS, *, is_esps: bool) -> str:
        """Have new connections get what is in the files now.

        Raises:
            CannotReloadError: a file cannot be used; nothing was changed.
        """
        from esps_portal.net.tls_contexts import TLSFileError  # noqa: PLC0415 - help must not wait

        try:
            tls.context = self._context(is_esps=is_esps)
        except TLSFileError as error:
            raise CannotReloadError(str(error)) from error
        return f"reloaded the certificate {self.cert}"


#: Adds the options of `ServerTLSOptions`; the command gets them as ``tls``.
server_tls_options: OptionGroup = add_option_group("tls", ServerTLSOptions, _SERVER_OPTIONS)


# ---- a client ----------------------------------------------------------------------------------

_CLIENT_OPTIONS: tuple[Option, ...] = (
    _file_option("--cafile", "For esps+tls://: trust the CAs in this PEM file, not the system's."),
    _file_option("--cert", "For esps+tls://: this client's certificate, in PEM."),
    _file_option("--key", "The private key of --cert; by default it is in the same file."),
)


@attrs.frozen
class ClientTLSOptions:
    """The TLS options of a client, as given.

    Attributes:
        cafile, cert, key: the files.
    """

    cafile: str | None = None
    cert: str | None = None
    key: str | None = None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options as they are written."""
        given = {"--cafile": self.cafile, "--cert": self.cert, "--key": self.key}
        return tuple(word for name, file in given.items() if file for word in (name, file))

    def refuse_unless(self, *, is_target: bool) -> None:
        """Check that there is a target that they are about, if any is given.

        Raises:
            click.UsageError: there is none.
        """
        if self.arguments and not is_target:
            raise click.UsageError(f"{self.arguments[0]} is for a target esps+tls://HOST:PORT")

    def context(self, url: PortalURL) -> ssl.SSLContext | None:
        """Return what is trusted; `None` if the portal is not reached over TLS.

        Raises:
            click.UsageError: the options do not go with the URL, or with each other.
            click.exceptions.Exit: a file cannot be used, which was reported.
        """
        given = {"--cafile": self.cafile, "--cert": self.cert, "--key": self.key}
        if url.transport != "tls":
            for option, file in given.items():
                if file is not None:
                    tls = attrs.evolve(url, transport="tls")
                    raise click.UsageError(f"{option} is for TLS: use it with --url {tls}")
            return None
        if self.key is not None and self.cert is None:
            raise click.UsageError("--key needs --cert")
        from esps_portal.net.tls_contexts import (  # noqa: PLC0415 - help must not wait
            TLSFileError,
            client_context,
        )
        from esps_portal.protocol.registry import ALPN  # noqa: PLC0415 - the same

        try:
            return client_context(self.cafile, self.cert, self.key, ALPN)
        except TLSFileError as error:
            exit_with_error(str(error))


#: Adds the options of `ClientTLSOptions`; the command gets them as ``tls``.
client_tls_options: OptionGroup = add_option_group("tls", ClientTLSOptions, _CLIENT_OPTIONS)
