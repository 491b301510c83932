"""The TLS of a listener: which certificate each connection is shown."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable

from esps_portal.net.authority import Authority
from esps_portal.net.tls import TLSSocket
from esps_portal.net.turns import Turns


def own_tls(hosts: Iterable[str] = (), *, alpn: str = "", to_plain: bytes = b"") -> ServerTLS:
    """Return what a server needs for TLS, with a certificate of a CA of its own, for tests.

    Args:
        hosts: names and addresses of the server, beside those of this machine.
        alpn: see `ServerTLS`; it is chosen where a client offers it.
        to_plain: see `ServerTLS`.

    Raises:
        MissingExtraError: trustme is not installed.
    """
    authority = Authority(hosts, alpn)
    return ServerTLS(authority.context(), authority, to_plain=to_plain, alpn=alpn)


class ServerTLS:
    """What a server needs for TLS; its connections share it.

    Args:
        context: with the certificate that clients are shown.
        authority: the CA of the server's own that has signed it; `None`: it is somebody else's, and
            there are no certificates with problems.
        to_plain: what a client is sent that does not speak TLS, as plain text; then comes FIN.
        alpn: the protocol that is spoken (RFC 7301): a client that offers others only is refused
            with the alert no_application_protocol; empty: none is.
        closes_authority: remove the file of the CA at the end; otherwise the CA goes on, for a
            server that follows this one.

    Attributes:
        context: for connections that are accepted from now on; replace it to reload certificates.
        turns: what a connection waits for before each step of its handshake.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        authority: Authority | None = None,
        *,
        to_plain: bytes = b"",
        alpn: str = "",
        closes_authority: bool = True,
    ) -> None:
        self.context: ssl.SSLContext = context
        self.to_plain: bytes = to_plain
        self.alpn: bytes = alpn.encode()
        self.turns: Turns = Turns()
        self._authority = authority
        self._closes_authority = closes_authority

    @property
    def ca_file(self) -> str | None:
        """The path of the server's own CA, for clients to trust; `None`: it has none."""
        return None if self._authority is None else self._authority.ca_file

    def wrap(self, connected: socket.socket, problem: str = "") -> TLSSocket:
        """Return TLS on an accepted socket.

        Args:
            problem: what is wrong with its certificate, by name; empty: nothing.
        """
        if not problem:
            return TLSSocket(connected, self.context)
        assert self._authority is not None  # noqa: S101 - the fault is refused where there is none
        return TLSSocket(connected, self._authority.faulty(problem))

    def close(self) -> None:
        """Remove the file of the CA, if there is one, and nobody else does that."""
        if self._authority is not None and self._closes_authority:
            self._authority.close()
