"""TLS in both clients: what they trust, and what they say of what they do not."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio

from esps_portal import ClosedError, PeerError, TimedOutError, UnreachableError, blocking, connect
from esps_portal.net.tls_contexts import TLSFileError, client_context
from esps_portal.testing import open_portal
from tests.certificates import Certificates, Files
from tests.client.bare_server import GREETING, listener, tcp_url

#: Calls a service of the portal at a URL; the keywords are those of `connect`.
Call = Callable[..., Awaitable[object]]


async def with_trio(url: str, *request: str, **options: object) -> object:
    async with connect(url, **options) as portal:  # type: ignore[arg-type]  # one test gives wrong ones
        return await portal.call(*(request or ("echo", "x")))


async def with_sockets(url: str, *request: str, **options: object) -> object:
    def session() -> object:
        with blocking.connect(url, **{"timeout": 30, **options}) as portal:  # type: ignore[arg-type]  # the same
            return portal.call(*(request or ("echo", "x")))

    return await trio.to_thread.run_sync(session)


both_clients = pytest.mark.parametrize("call", [with_trio, with_sockets])


@both_clients
async def test_a_call(call: Call) -> None:
    async with open_portal(tls=True) as portal:
        assert await call(portal.url, cafile=portal.tls_ca) == (b"x",)
        context = client_context(portal.tls_ca)
        assert await call(portal.url, ssl_context=context) == (b"x",)
        assert await call(portal.url.replace("127.0.0.1", "localhost"), ssl_context=context)


@both_clients
async def test_the_protocol_is_offered_by_name(call: Call) -> None:
    """ESPS-TLS-9."""
    async with listener() as server, trio.open_nursery() as nursery:

        async def see() -> None:
            async with await server.accept() as stream:
                assert b"\x00\x10\x00\x09\x00\x07\x06esps/1" in await stream.receive_some()

        nursery.start_soon(see)
        with pytest.raises(UnreachableError, match="ended the connection during the TLS handsh"):
            await call(tcp_url(server, "esps+tls"))


# ---- what is not trusted -----------------------------------------------------------------------


@both_clients
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("expired", "its certificate has expired"),
        ("wrong_name", "its certificate is for another name"),
        ("untrusted", "its certificate is signed by a CA that is not trusted here"),
    ],
)
async def test_a_certificate_that_is_not_valid(
    call: Call, certificates: Certificates, name: str, reason: str
) -> None:
    """ESPS-TLS-3."""
    files: Files = getattr(certificates, name)
    async with open_portal(tls=files.context()) as portal:
        with pytest.raises(UnreachableError) as caught:
            await call(portal.url, cafile=certificates.ca)
        assert str(caught.value) == f"cannot connect to {portal.url}: {reason}"
        assert portal.tls_ca is None


@both_clients
async def test_the_cas_of_the_system_are_the_default(
    call: Call, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_portal(tls=certificates.portal.context()) as portal:
        with pytest.raises(UnreachableError, match="not trusted here"):
            await call(portal.url)
        monkeypatch.setenv("SSL_CERT_FILE", certificates.ca)
        assert await call(portal.url) == (b"x",)


@both_clients
async def test_client_certificates(call: Call, certificates: Certificates) -> None:
    required = certificates.portal.context(client_ca=certificates.ca)
    async with open_portal(tls=required) as portal:
        # With TLS 1.3 a client learns it from what it reads after its handshake.
        with pytest.raises((PeerError, UnreachableError), match="'certificate required'"):
            await call(portal.url, cafile=certificates.ca)
        files = certificates.client
        context = client_context(certificates.ca, files.cert, files.key)
        assert await call(portal.url, ssl_context=context) == (b"x",)


# ---- what is no TLS, or is cut off -------------------------------------------------------------


@both_clients
async def test_tls_to_a_plain_portal(call: Call) -> None:
    async with open_portal() as portal:
        url = portal.url.replace("esps:", "esps+tls:")
        with pytest.raises(UnreachableError) as caught:
            await call(url)
        hint = f"it does not speak TLS; for plain TCP use {portal.url}"
        assert str(caught.value) == f"cannot connect to {url}: {hint}"


@both_clients
async def test_plain_tcp_to_a_portal_with_tls(call: Call) -> None:
    async with open_portal(tls=True) as portal:
        with pytest.raises(PeerError, match=r"the peer expects TLS: use esps\+tls://"):
            await call(portal.url.replace("esps+tls:", "esps:"))


@both_clients
async def test_plain_tcp_to_another_server_with_tls(call: Call) -> None:
    async with listener() as server, trio.open_nursery() as nursery:

        async def refuse() -> None:
            async with await server.accept() as stream:
                assert await stream.receive_some()
                await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x46")

        nursery.start_soon(refuse)
        with pytest.raises(PeerError, match=r"the peer expects TLS: use esps\+tls://"):
            await call(tcp_url(server))


@both_clients
async def test_an_end_without_close_notify_is_no_end(
    call: Call, certificates: Certificates
) -> None:
    """ESPS-TLS-5."""
    context = certificates.portal.context()
    async with listener() as server, trio.open_nursery() as nursery:

        async def serve(last: bytes, *, is_cut: bool) -> None:
            tcp = await server.accept()
            tls = trio.SSLStream(tcp, context, server_side=True)
            await tls.send_all(GREETING)
            await tls.receive_some()
            await tls.send_all(last)
            if is_cut:
                await tcp.send_eof()
                await tcp.receive_some()
                await trio.aclose_forcefully(tls)
            else:
                await tls.aclose()

        url = tcp_url(server, "esps+tls")
        nursery.start_soon(lambda: serve(b"* BYE closing\n", is_cut=True))
        with pytest.raises(PeerError, match="without close_notify"):
            await call(url, cafile=certificates.ca)
        nursery.start_soon(lambda: serve(b"* BYE closing\n", is_cut=False))
        with pytest.raises(ClosedError, match="closing"):
            await call(url, cafile=certificates.ca)


@both_clients
@pytest.mark.parametrize(
    ("service", "error", "text"),
    [
        ("close", ClosedError, "the portal ended the connection"),
        ("reset", PeerError, "Connection reset by peer"),
    ],
)
async def test_a_portal_that_ends_the_connection(
    call: Call, service: str, error: type[Exception], text: str
) -> None:
    async with open_portal(tls=True) as portal:
        with pytest.raises(error, match=text):
            await call(portal.url, service, cafile=portal.tls_ca)


async def test_a_handshake_that_stalls() -> None:
    async with listener() as server:
        with pytest.raises(TimedOutError, match="the TLS handshake took too long"):
            await with_sockets(tcp_url(server, "esps+tls"), timeout=0.1)
        with trio.move_on_after(0.05) as waited:
            await with_trio(tcp_url(server, "esps+tls"))
        assert waited.cancelled_caught


# ---- arguments ---------------------------------------------------------------------------------


@both_clients
async def test_arguments_that_do_not_go_together(call: Call, certificates: Certificates) -> None:
    context = ssl.create_default_context()
    cases: list[tuple[str, dict[str, object], type[Exception], str]] = [
        ("esps://h", {"cafile": "ca.pem"}, ValueError, r"cafile is for TLS.*esps\+tls://"),
        ("h", {"ssl_context": context}, ValueError, "ssl_context is for TLS"),
        ("esps+udp://h", {"cafile": "x"}, ValueError, "cafile is for TLS"),
        ("esps+tls://h", {"cafile": "x", "ssl_context": context}, ValueError, "not both"),
        ("esps+tls://h", {"ssl_context": "x"}, TypeError, "must be an ssl.SSLContext, got 'x'"),
        ("esps+tls://h", {"cafile": "/nowhere"}, TLSFileError, "cannot read the cert.* /nowhere"),
        ("esps+tls://h", {"cafile": certificates.portal.key}, TLSFileError, "no certificate in"),
    ]
    for url, options, error, text in cases:
        with pytest.raises(error, match=text):
            await call(url, **options)
