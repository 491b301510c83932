"""A proxy in a thread of its own, with its own ``trio.run``: for tests of every style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self, Unpack

from esps_portal.exports import public_names
from esps_portal.proxy.state import ProxyState
from esps_portal.testing.portal_loop import PortalEndedError
from esps_portal.testing.proxy_controller import ProxyController
from esps_portal.testing.proxy_options import ProxyOptions, proxy_config, served_proxy
from esps_portal.testing.runs_in_thread import RunsInThread
from esps_portal.testing.served import ServerAddress
from esps_portal.testing.server_thread import ServerThread
from esps_portal.tracebacks import hides_frame
from esps_portal.with_blocks import warns_without_with

__tracebackhide__ = hides_frame


class ThreadedProxy(RunsInThread, ProxyController):
    """A proxy in a thread of its own."""

    def __init__(
        self,
        state: ProxyState,
        thread: ServerThread,
        address: ServerAddress,
        *,
        may_be_unreachable: bool,
    ) -> None:
        super().__init__(state, thread, address, may_be_unreachable=may_be_unreachable)
        self._thread = thread

    @classmethod
    def start(cls, upstream: str, **options: Unpack[ProxyOptions]) -> Self:
        """Start a proxy; see `proxy_in_thread`, which also ends it."""
        config = proxy_config(upstream, options)
        thread = ServerThread(served_proxy(config))
        may_be_unreachable = options.get("unreachable") == "ok"
        return cls(config.state, thread, thread.start(), may_be_unreachable=may_be_unreachable)

    @property
    def where(self) -> str:
        """What it is and where, for a report."""
        return f"{super().where}, upstream {self.upstream}"

    def note_end_of_test(self) -> None:
        """Pass on what clients have sent; from now on the upstream may end.

        A test's server is often a fixture that is torn down before the proxy is reviewed.
        """
        state = self._state

        def note() -> None:
            state.is_upstream_needed = False

        with suppress(PortalEndedError):  # its review says so
            self._loop.run_when_quiet(note)

    def __dir__(self) -> list[str]:
        # Lending it to a test is for the plugin only.
        return public_names(self, ProxyController)


@warns_without_with("with proxy_in_thread(...) as proxy: ...")
@contextmanager
def proxy_in_thread(upstream: str, **options: Unpack[ProxyOptions]) -> Iterator[ThreadedProxy]:
    """Serve a proxy for the length of a ``with`` block, whatever runs in this thread.

    ``with proxy_in_thread("tcp://127.0.0.1:6379") as proxy: proxy.fault("reset", times=1)``
    Leaving the block ends it at once: connections are reset. Nothing is judged unless the test
    calls `verify`.

    Args:
        upstream: the server behind it: ``tcp://HOST:PORT``, ``udp://HOST:PORT``,
            ``tcp+udp://HOST:PORT``, ``tls://HOST:PORT`` (the proxy speaks TLS to it), or
            ``esps://HOST`` for a portal.
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
    proxy = ThreadedProxy.start(upstream, **options)
    try:
        yield proxy
    finally:
        proxy.stop()
