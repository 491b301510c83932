"""URLs: ``esps://host:port`` (TCP), ``esps+tls://``, ``esps+udp://``; port 2867 by default."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from esps_portal.protocol.registry import PORT

_TRANSPORTS = {"esps": "tcp", "esps+tls": "tls", "esps+udp": "udp"}


@attrs.frozen
class PortalURL:
    """Where a portal is, and how it is spoken to: ``tcp``, ``tls`` or ``udp``."""

    transport: str
    host: str
    port: int = PORT

    @classmethod
    def parse(cls, text: str) -> PortalURL:
        """Return what ``text`` says.

        Raises:
            ValueError: it is no such URL; the message says what it should be.
        """
        shape = f"{text!r} is no portal URL: esps://HOST[:PORT] (or esps+udp://, esps+tls://)"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"{shape}: {error}") from error
        transport = _TRANSPORTS.get(parts.scheme)
        extra = parts.path.strip("/") or parts.query or parts.fragment or parts.username
        if transport is None or not host or extra or parts.netloc.endswith(":") or port == 0:
            raise ValueError(shape)
        return cls(transport, host, PORT if port is None else port)

    def __str__(self) -> str:
        scheme = next(scheme for scheme, name in _TRANSPORTS.items() if name == self.transport)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"
