"""What can go wrong with TLS, in a few words about the other side.

OpenSSL has hundreds of errors. Those that somebody meets who connects to the wrong port, or trusts
the wrong CA, get a text of their own here.
"""

from __future__ import annotations

import errno
import ssl

#: Why a handshake has failed whose peer closed the connection, maybe before it sent anything.
ENDED_EARLY = "it ended the connection during the TLS handshake"
#: Why a connection may be incomplete: a FIN came where ``close_notify`` had to come first.
ENDED_WITHOUT_CLOSE_NOTIFY = "it ended the connection without close_notify"

# By OpenSSL's number of the error (x509_vfy.h).
_CERTIFICATE_PROBLEMS = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate is signed by a CA that is not trusted here",
    20: "its certificate is signed by a CA that is not trusted here",
    21: "its certificate is signed by a CA that is not trusted here",
    26: "its certificate is for another purpose",
}
_UNTRUSTED = (18, 19, 20, 21)
_WRONG_NAMES = (62, 64)  # of a host, of an IP address
# OpenSSL's names of errors that plain text in place of TLS causes, by version and length.
_PLAIN = {
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_RECORD",
    "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER",
}
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it sent no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS from version 1.2 on",
    "NO_SHARED_CIPHER": "it has no cipher in common",
}


class TLSError(ConnectionError):
    """TLS has failed, or was cut off; ``strerror`` says why, in a few words about the other side.

    Attributes:
        is_plain: the other side does not speak TLS.
        is_untrusted: nobody who is trusted here has signed its certificate.
        is_from_peer: the other side has ended the connection, with FIN or with an alert, which is
            its last message (RFC 8446 section 6.2).
    """

    def __init__(
        self,
        reason: str,
        *,
        is_plain: bool = False,
        is_untrusted: bool = False,
        is_from_peer: bool = False,
    ) -> None:
        super().__init__(errno.EPROTO, reason)
        self.is_plain: bool = is_plain
        self.is_untrusted: bool = is_untrusted
        self.is_from_peer: bool = is_from_peer

    def __reduce__(self) -> tuple[object, ...]:
        # OSError's own would pass its two arguments to our constructor.
        return type(self), (self.strerror,), self.__dict__


def translate(error: ssl.SSLError, at_end: str = ENDED_WITHOUT_CLOSE_NOTIFY) -> TLSError:
    """Return the `TLSError` for an error of OpenSSL.

    Args:
        at_end: the reason if the peer has ended the connection where it must not.
    """
    # Python before 3.11.4 has no class of its own for this.
    if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
        return TLSError(at_end, is_from_peer=True)
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSError(_certificate_problem(error), is_untrusted=error.verify_code in _UNTRUSTED)
    reason = error.reason or ""
    if reason in _PLAIN:
        return TLSError("it does not speak TLS", is_plain=True)
    _, is_alert, alert = reason.partition("_ALERT_")
    if is_alert:
        return TLSError(f"it refused with the TLS alert {_words(alert)!r}", is_from_peer=True)
    return TLSError(_REASONS.get(reason) or f"TLS failed: {_words(reason) or error.strerror}")


def _certificate_problem(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAMES:
        return "its certificate is for another name"
    known = _CERTIFICATE_PROBLEMS.get(error.verify_code)
    return known or f"its certificate cannot be verified: {error.verify_message}"


def _words(name: str) -> str:
    return name.lower().replace("_", " ")
