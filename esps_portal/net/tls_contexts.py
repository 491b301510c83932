"""TLS contexts for a server and for a client, made from files with certificates and keys.

TLS 1.2 is the oldest version (BCP 195, RFC 9325 section 3.1.1). There is no renegotiation.
"""

from __future__ import annotations

import os
import ssl
from typing import NoReturn

from esps_portal.tracebacks import hides_frame

__tracebackhide__ = hides_frame


# OpenSSL's names of a key that is not the certificate's; the last: of another kind.
_MISMATCHES = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
# Bytes of a file in which its PEM must begin.
_MAX_FILE = 1 << 20


class TLSFileError(ValueError):
    """A certificate or a key cannot be used. The text names the file, and says why, in one line."""


def new_server_context(alpn: str = "") -> ssl.SSLContext:
    """Return a context for a server, without a certificate so far.

    Args:
        alpn: the protocol that is chosen if a client offers it (RFC 7301); empty: none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, alpn)
    # Each handshake is a full one, so that each client sees the certificate; and one that sends
    # and closes leaves no ticket unread, which would make its end a RST.
    context.num_tickets = 0
    return context


def server_context(
    cert: str, key: str, client_ca: str | None = None, alpn: str = ""
) -> ssl.SSLContext:
    """Return a context with a certificate, and its key, from PEM files.

    Args:
        cert: the file of the certificate, then those of its CAs.
        key: the file of its private key, which is not encrypted.
        client_ca: the file of the CAs that sign clients' certificates: each client must have one.
        alpn: see `new_server_context`.

    Raises:
        TLSFileError: a file is missing or wrong, or the key is not that of the certificate.
    """
    context = new_server_context(alpn)
    _load_cert_chain(context, cert, key)
    if client_ca is not None:
        _load_ca(context, client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(
    cafile: str | None = None, cert: str | None = None, key: str | None = None, alpn: str = ""
) -> ssl.SSLContext:
    """Return a context that verifies the server's certificate, and its name.

    Args:
        cafile: the PEM file of the CAs to trust; `None`: those of the system.
        cert, key: the files of the client's own certificate and its key; ``cert`` may have both.
        alpn: the protocol that is offered (RFC 7301); empty: none.

    Raises:
        TLSFileError: a file is missing or wrong, or the key is not that of the certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, alpn)
    if cafile is None:
        context.load_default_certs()
    else:
        _load_ca(context, cafile)
    if cert is not None:
        _load_cert_chain(context, cert, key or cert)
    elif key is not None:
        raise TLSFileError(f"the key {key} is of no use without its certificate")
    return context


def _harden(context: ssl.SSLContext, alpn: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python before 3.11.4 takes a FIN without close_notify for an end (ESPS-TLS-5).
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.options |= ssl.OP_NO_RENEGOTIATION
    if alpn:
        context.set_alpn_protocols([alpn])


def _load_ca(context: ssl.SSLContext, path: str) -> None:
    _require(path, b"-----BEGIN CERTIFICATE-----", "certificate")
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise TLSFileError(f"the certificates in {path} cannot be read") from error


def _load_cert_chain(context: ssl.SSLContext, cert: str, key: str) -> None:
    _require(cert, b"-----BEGIN CERTIFICATE-----", "certificate")
    _require(key, b"PRIVATE KEY-----", "private key")

    def refuse_password() -> NoReturn:
        # Without this OpenSSL asks on the terminal.
        raise TLSFileError(f"the key in {key} is encrypted: decrypt it, as with openssl pkey")

    try:
        context.load_cert_chain(cert, key, password=refuse_password)
    except TLSFileError:
        raise
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            message = f"the key in {key} does not belong to the certificate in {cert}"
        elif error.reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            message = f"the certificate in {cert} is too weak for this OpenSSL"
        else:
            message = f"{cert} and {key} are not a certificate and its key in PEM"
        raise TLSFileError(message) from error


def _require(path: str, marker: bytes, what: str) -> None:
    """Raise `TLSFileError` unless a file can be read and has what only such a PEM file has."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path in bytes or text, as OpenSSL takes it
            content = file.read(_MAX_FILE)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise TLSFileError(f"cannot read the {what} {path}: {reason}") from error
    if marker not in content:
        raise TLSFileError(f"there is no {what} in PEM in {path}")
