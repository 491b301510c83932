"""``esps-portal conformance esps+tls://HOST:PORT``: the vectors, within TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

from tests.certificates import Certificates, Files
from tests.commands import run
from tests.patience import PATIENCE
from tests.processes import running_server


@contextlib.contextmanager
def serving(files: Files) -> Iterator[str]:
    options = ("--tls-cert", files.cert, "--tls-key", files.key)
    with running_server(*options) as server:
        yield f"esps+tls://127.0.0.1:{server.port}"


def test_our_server_passes(certificates: Certificates) -> None:
    with serving(certificates.portal) as url:
        code, report, _ = run(
            "conformance", "-W", "30", "--cafile", certificates.ca, "--section", "6.5", url
        )
    assert code == 0
    assert "0 warn, 0 fail, " in report
    assert "over TLS the client's end ends both directions" in report
    assert " 0 pass" not in report


def test_what_is_not_trusted_is_judged_by_nobody(certificates: Certificates) -> None:
    with serving(certificates.untrusted) as url:
        code, out, err = run("conformance", "--cafile", certificates.ca, "--section", "6.5", url)
    assert (code, err) == (1, "")
    assert "certificate verify failed" in out
    assert " 0 pass" in f" {out.splitlines()[-1]}"


@contextlib.contextmanager
def ending_without_close_notify(files: Files) -> Iterator[str]:
    """A server that answers QUIT, and then closes TCP alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)

    def serve(connected: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(connected, server_side=True) as tls:
            tls.sendall(b"* ESPS/1 test/1\n")
            for line in tls.makefile("rb"):
                tag, verb, *_ = line.split()
                tls.sendall(tag + (b" OK ESPS/1\n" if verb == b"HELLO" else b" OK\n"))
                if verb == b"QUIT":
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                serve(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield f"esps+tls://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def test_an_end_without_close_notify_fails(certificates: Certificates) -> None:
    with ending_without_close_notify(certificates.portal) as url:
        code, report, _ = run(
            "conformance", "--cafile", certificates.ca, "--only", "tcp-linger", url
        )
    assert code == 1, report
    assert "tcp-linger" in report, report
    assert "RST" in report
