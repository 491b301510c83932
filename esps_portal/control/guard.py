"""Rejects requests that a page in somebody's browser, or a neighbour, makes to the control port.

A browser sends Host, Origin and Sec-Fetch-Site by itself, and no page can change them. A page whose
name is made to resolve to 127.0.0.1 (DNS rebinding) sends its own name as Host. A form or an image
of another page is recognised by Origin or Sec-Fetch-Site. A page may not send JSON without asking
first (CORS), and that question is never answered with yes. Beyond loopback a token is needed as
well.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

import attrs

from esps_portal.control.http_messages import HttpError, RequestHead

_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
_DEFAULT_PORT = 80
_AUTHORIZATION = re.compile(rb"(?i:bearer) +([A-Za-z0-9._~+/-]+=*)")
# Values of a client that is not a browser, or of a browser whose user typed the address.
_OWN_SITES = {b"none", b"same-origin"}


@attrs.frozen
class Guard:
    """Whether a request is allowed.

    Attributes:
        hosts: what Host may say, in lower case.
        token: what Authorization has to say; ``None``: nothing.
    """

    hosts: frozenset[str]
    token: str | None = attrs.field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        addresses: Iterable[tuple[str, int]],
        names: Iterable[str] = (),
        token: str | None = None,
    ) -> Guard:
        """Return the guard of a server.

        Args:
            addresses: where it listens, as literal host and port.
            names: further hosts; with a port, where a client gets it through another one.
        """
        hosts: set[str] = set()
        for host, port in addresses:
            literal = f"[{host}]" if ":" in host else host
            for name in (literal, *_LOOPBACK, *names):
                with_port = re.search(r":[0-9]+$", name)
                hosts.add(name if with_port else f"{name}:{port}")
                if port == _DEFAULT_PORT and not with_port:
                    hosts.add(name)
        return cls(frozenset(host.lower() for host in hosts), token)

    def check(self, head: RequestHead) -> None:
        """Check a request.

        Raises:
            HttpError: it is not allowed.
        """
        if not head.target.startswith("/"):
            raise HttpError(400, "the target must be a path: /stubs")
        self._check_host(head)
        if head.values(b"origin"):
            raise HttpError(403, "a page in a browser may not ask this: Origin is refused")
        if not _OWN_SITES.issuperset(head.values(b"sec-fetch-site")):
            raise HttpError(403, "a page in a browser may not ask this: Sec-Fetch-Site is refused")
        self._check_token(head)

    def _check_host(self, head: RequestHead) -> None:
        hosts = head.values(b"host")
        if len(hosts) != 1:
            raise HttpError(400, f"exactly one Host is needed, got {len(hosts)}")
        if hosts[0].decode("latin-1").lower() not in self.hosts:
            raise HttpError(
                421, f"Host must be one of {', '.join(sorted(self.hosts))}; others: --control-host"
            )

    def _check_token(self, head: RequestHead) -> None:
        if self.token is None:
            return
        given = head.values(b"authorization")
        found = _AUTHORIZATION.fullmatch(given[0]) if len(given) == 1 else None
        if found is None or not hmac.compare_digest(found[1], self.token.encode()):
            raise HttpError(
                401,
                "Authorization: Bearer TOKEN is needed, with the token of the server",
                headers={"WWW-Authenticate": "Bearer"},
            )
