"""A server's own CA, for tests: it issues the server's certificate, and faulty ones for faults.

The CA is created when the server starts; only clients that are given its file trust it. It needs
trustme, which is the extra ``tls``.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import ssl
import tempfile
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from esps_portal.net.bind import WILDCARDS
from esps_portal.net.tls_contexts import new_server_context
from esps_portal.tracebacks import hides_frame

if TYPE_CHECKING:
    import trustme

__tracebackhide__ = hides_frame

# Whatever a client calls a server on this machine.
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
# Of a top-level domain that no host has (RFC 2606 section 2).
_OTHER_NAME = "wrong-name.invalid"
# A time that no clock of a test goes back to: trustme's certificates are valid from 2000 to 2038.
_LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


class MissingExtraError(ImportError):
    """Something was asked for that needs a package which is not installed. The text names it."""


class Authority:
    """A CA, and certificates of it. `close` removes its file.

    Args:
        hosts: names and addresses of the server, beside those of this machine.
        alpn: see `new_server_context`.

    Attributes:
        ca_file: the path of a PEM file with the CA, for clients to trust; its owner alone reads it.

    Raises:
        MissingExtraError: trustme is not installed.
    """

    def __init__(self, hosts: Iterable[str] = (), alpn: str = "") -> None:
        try:
            import trustme  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise MissingExtraError(
                "a certificate of its own needs trustme: pip install 'esps-portal[tls]'"
            ) from error
        self._alpn = alpn
        names = dict.fromkeys((*hosts, *_LOCAL_NAMES))
        self._names = [name for name in names if name not in WILDCARDS.values()]
        self._ca = trustme.CA()
        self._pid = os.getpid()
        descriptor, path = tempfile.mkstemp(prefix="esps-portal-ca-", suffix=".pem")
        self.ca_file: str = path
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._ca.cert_pem.bytes())
        self.faulty: Callable[[str], ssl.SSLContext] = functools.cache(self._make_faulty)

    def context(self) -> ssl.SSLContext:
        """Return a context with a certificate that is valid."""
        return self._context(self._ca.issue_cert(*self._names))

    def _make_faulty(self, problem: str) -> ssl.SSLContext:
        """Return a context with a certificate that has a problem."""
        if problem == "expired":
            leaf = self._ca.issue_cert(*self._names, not_after=_LONG_AGO)
        elif problem == "wrong-name":
            leaf = self._ca.issue_cert(_OTHER_NAME)
        else:
            leaf = _self_signed(self._names)
        return self._context(leaf)

    def _context(self, leaf: trustme.LeafCert) -> ssl.SSLContext:
        context = new_server_context(self._alpn)
        leaf.configure_cert(context)
        return context

    def close(self) -> None:
        """Remove the file of the CA."""
        # A forked child that ends has a copy of this object, and its parent goes on.
        if os.getpid() == self._pid and os.path.exists(self.ca_file):  # noqa: PTH110
            os.unlink(self.ca_file)  # noqa: PTH108


def _self_signed(names: list[str]) -> trustme.LeafCert:
    """Return a certificate that is its own CA."""
    import ipaddress  # noqa: PLC0415 - what follows is for this alone, and takes a while

    import trustme  # noqa: PLC0415 - an extra
    from cryptography import x509  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - the same
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - the same

    def general_name(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "esps-portal self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2038, 1, 1, tzinfo=dt.UTC))
        .add_extension(x509.SubjectAlternativeName(map(general_name, names)), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private_key = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return trustme.LeafCert(private_key, certificate.public_bytes(pem), [])
