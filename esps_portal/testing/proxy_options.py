"""The options of a proxy for tests."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, Unpack

from esps_portal.framings.custom import checked_framing
from esps_portal.framings.framing import Framing, FramingError
from esps_portal.given_numbers import shown_value
from esps_portal.net.bind import CannotBindError
from esps_portal.net.tls_contexts import client_context
from esps_portal.net.tls_server import ServerTLS, own_tls
from esps_portal.protocol.limits import Limits
from esps_portal.protocol.registry import ALPN
from esps_portal.proxy.serving import OwnUpstreamError, ProxyConfig, serve_proxy
from esps_portal.proxy.state import ProxyState
from esps_portal.proxy.upstream import Upstream
from esps_portal.testing.served import Served
from esps_portal.testing.server_options import (
    SERVER_TYPES,
    TLS_TYPE,
    OptionType,
    ServerOptions,
    check_types,
    host_of,
    server_tls,
)
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    from esps_portal.testing.proxy_controller import ProxyController

__tracebackhide__ = hides_frame

_TYPES: dict[str, OptionType] = {
    "framing": (object, ""),
    "reply_framing": (object, ""),
    **SERVER_TYPES,
    "unreachable": (str, "'error' or 'ok'"),
    "tls": TLS_TYPE,
    "upstream_ca": (str | ssl.SSLContext, "the path of a PEM file, or an ssl.SSLContext"),
}
_UNREACHABLE = ("error", "ok")


class ProxyOptions(ServerOptions, total=False):
    """Options of a proxy for tests; each has a default."""

    #: How a stream is cut into frames, such as ``lines()``. By default it is not: units are then
    #: exchanges, which begin where the client sends after the server.
    framing: Framing | None
    #: That of replies; by default the same as ``framing``.
    reply_framing: Framing | None
    #: Only ``max_connections``, ``window`` and ``drain`` apply; by default those of `Limits`.
    limits: Limits | None
    #: ``ok``: a strict test does not fail where the upstream could not be reached. By default
    #: ``error``.
    unreachable: Literal["error", "ok"]
    #: By default false: clients speak as the upstream does, and TLS passes untouched. True: the
    #: proxy ends TLS, with a certificate of a CA of its own, whose file is
    #: `ProxyController.tls_ca`; that needs the extra ``tls``. Or a context of your own, with
    #: ``load_cert_chain``.
    tls: bool | ssl.SSLContext
    #: What to trust of a ``tls://`` or ``esps+tls://`` upstream: the path of a PEM file of CAs, or
    #: a context. By default the CAs of the system. Its certificate must name the upstream's host.
    upstream_ca: str | ssl.SSLContext | None


class ProxyFactory(Protocol):
    """The type of the fixture `esps_proxy`."""

    def __call__(
        self, upstream: str, *, strict: bool | None = None, **options: Unpack[ProxyOptions]
    ) -> ProxyController:
        """Start a proxy in a thread of its own; it ends with the test.

        Args:
            upstream: the server behind it: ``tcp://HOST:PORT``, ``udp://HOST:PORT``,
                ``tcp+udp://HOST:PORT``, ``tls://HOST:PORT`` (the proxy speaks TLS to it), or
                ``esps://HOST`` for a portal.
            strict: overrides the marker and the configuration.
            options: see `ProxyOptions`.

        Raises:
            UpstreamError: the upstream is not such an address.
            OwnUpstreamError: it is the proxy itself.
            FramingError: one is not a framing, or makes no sense there.
            CannotBindError: an address cannot be bound.
            MissingExtraError: ``tls`` is true, and trustme is not installed.
            TLSFileError: the file of ``upstream_ca`` cannot be used.
            TypeError, ValueError: an option is unknown, or not what it must be.
        """


def check_proxy_options(options: ProxyOptions, also: str = "") -> None:
    """Check the names and values of options.

    Args:
        also: a further option, for the message: the caller handles it itself.

    Raises:
        TypeError, ValueError: an option is unknown, or not what it must be.
    """
    given = {key: value for key, value in options.items() if value is not None}
    check_types(given, _TYPES, also)
    if given.get("unreachable", "ok") not in _UNREACHABLE:
        raise ValueError(
            f"unreachable must be 'error' or 'ok', got {shown_value(given['unreachable'])}"
        )


def proxy_config(upstream: str, options: ProxyOptions) -> ProxyConfig:
    """Return how a proxy is served: on reserved ports, which may be taken out of service.

    Raises:
        UpstreamError: the upstream is not the address of one.
        FramingError: one is not a framing, or makes no sense there.
        MissingExtraError, TLSFileError: see `ProxyFactory`.
        TypeError, ValueError: an option is unknown, or not what it must be.
    """
    check_proxy_options(options)
    parsed = Upstream.parse(upstream)
    host, alpn = host_of(options), ALPN if parsed.is_esps else ""
    tls = server_tls(options.get("tls", False), ServerTLS, lambda: own_tls([host], alpn=alpn))
    is_own = tls is not None and tls.ca_file is not None
    framings = _framings(parsed, options)
    return ProxyConfig(
        state=ProxyState(parsed, *framings, issues_certificates=is_own),
        hosts=(host,),
        port=options.get("port", 0),
        reserve_port=True,
        limits=options.get("limits") or Limits(),
        udp=tls is None,
        tls=tls,
        upstream_tls=_upstream_tls(options.get("upstream_ca"), alpn),
    )


def served_proxy(config: ProxyConfig) -> Served:
    """Return a proxy with its configuration, as a test has it served."""
    return Served(
        name="proxy",
        serve=partial(serve_proxy, config),
        state=config.state,
        tls=config.tls,
        start_errors=(CannotBindError, OwnUpstreamError),
    )


def _upstream_tls(trusted: str | ssl.SSLContext | None, alpn: str) -> ssl.SSLContext | None:
    """Return what is trusted of the upstream; `None`: the CAs of the system, or there is no TLS."""
    if isinstance(trusted, str):
        return client_context(trusted, alpn=alpn)
    return trusted


def _framings(upstream: Upstream, options: ProxyOptions) -> tuple[Framing | None, Framing | None]:
    framing, reply_framing = options.get("framing"), options.get("reply_framing")
    if framing is None and reply_framing is None:
        return None, None
    if framing is None:
        raise FramingError("reply_framing needs framing, that of what clients send")
    found = checked_framing(framing), checked_framing(reply_framing or framing)
    for each in found:
        upstream.check_framing(each)
    return found
