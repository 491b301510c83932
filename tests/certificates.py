"""Certificates, keys and CAs for the tests, in files, as an administrator has them."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import attrs
import trustme

from esps_portal.net.tls_contexts import server_context
from esps_portal.protocol.registry import ALPN

_LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@attrs.frozen
class Files:
    """A certificate with its key, each in a file."""

    cert: str
    key: str

    def context(self, client_ca: str | None = None) -> ssl.SSLContext:
        """Return a context for a portal that shows the certificate."""
        return server_context(self.cert, self.key, client_ca, ALPN)


@attrs.frozen
class Certificates:
    """A CA, and certificates of it.

    Attributes:
        ca: the file of the CA.
        portal: for 127.0.0.1, ::1 and localhost.
        expired: for the same, and expired.
        wrong_name: for another host.
        client: of a client, from the same CA.
        untrusted: for 127.0.0.1, of another CA; ``untrusted_ca`` is its file.
    """

    ca: str
    portal: Files
    expired: Files
    wrong_name: Files
    client: Files
    untrusted: Files
    untrusted_ca: str


def make_certificates(folder: Path) -> Certificates:
    """Write all of them to a folder."""
    own, other = trustme.CA(), trustme.CA()

    def file(name: str, blob: trustme.Blob) -> str:
        path = folder / name
        path.write_bytes(blob.bytes())
        return str(path)

    def issued(name: str, leaf: trustme.LeafCert) -> Files:
        cert = file(f"{name}.pem", leaf.cert_chain_pems[0])
        return Files(cert, file(f"{name}.key", leaf.private_key_pem))

    here = ("127.0.0.1", "::1", "localhost")
    return Certificates(
        ca=file("ca.pem", own.cert_pem),
        portal=issued("portal", own.issue_cert(*here)),
        expired=issued("expired", own.issue_cert(*here, not_after=_LONG_AGO)),
        wrong_name=issued("wrong-name", own.issue_cert("other.invalid")),
        client=issued("client", own.issue_cert("somebody@test.invalid")),
        untrusted=issued("untrusted", other.issue_cert(*here)),
        untrusted_ca=file("untrusted-ca.pem", other.cert_pem),
    )
