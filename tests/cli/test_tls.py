"""TLS on the command line: a server with certificates, and commands that trust them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from esps_portal.net.authority import MissingExtraError
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.certificates import Certificates
from tests.cli.test_sighup import daemon, hang_up, log_of
from tests.commands import run, run_failing
from tests.processes import RunningServer, running_server


@pytest.fixture(scope="module")
def server(certificates: Certificates) -> Iterator[RunningServer]:
    files = certificates.portal
    with running_server("--tls-cert", files.cert, "--tls-key", files.key) as running:
        yield running


def tls_url(server: RunningServer, host: str = "127.0.0.1") -> str:
    return f"esps+tls://{host}:{server.port}"


# ---- commands ----------------------------------------------------------------------------------


def test_commands_over_tls(server: RunningServer, certificates: Certificates) -> None:
    trusted = ["--cafile", certificates.ca]
    assert server.ready["udp"] == []
    url = tls_url(server)
    assert run("call", "--url", url, *trusted, "echo", "hi") == (0, "hi\n", "")
    code, out, _ = run("list", "echo", *trusted, url=url)
    assert (code, out.split()[0]) == (0, "echo")
    code, out, _ = run("ping", "-c", "1", *trusted, url)
    assert (code, out.startswith(f"pong from {url}: seq=1 ")) == (0, True)
    assert run("call", "--url", tls_url(server, "localhost"), *trusted, "echo", "x")[0] == 0


def test_what_is_not_trusted_is_one_line(server: RunningServer, certificates: Certificates) -> None:
    url = tls_url(server)
    cannot = f"esps-portal: cannot connect to {url}: its certificate is signed by a CA"
    expected = f"{cannot} that is not trusted here; trust it with --cafile FILE\n"
    assert run("call", "--url", url, "echo", "hi") == (1, "", expected)
    code, out, err = run("ping", url)  # it ends: to ping again would not help
    assert (code, err, out.count("no pong")) == (1, expected, 1)
    code, out, err = run("list", "--url", url, "--json")
    assert (code, err) == (1, expected)
    assert json.loads(out)["error"] == "unreachable"


def test_another_name(certificates: Certificates) -> None:
    files = certificates.wrong_name
    with running_server("--tls-cert", files.cert, "--tls-key", files.key) as server:
        url = tls_url(server)
        code, err = run_failing("call", "--url", url, "--cafile", certificates.ca, "echo")
        assert (code, err) == (
            1,
            f"esps-portal: cannot connect to {url}: its certificate is for another name",
        )


def test_a_client_certificate(certificates: Certificates) -> None:
    files = certificates.portal
    options = ["--tls-cert", files.cert, "--tls-key", files.key]
    with running_server(*options, "--tls-client-ca", certificates.ca) as server:
        call = ["call", "--url", tls_url(server), "--cafile", certificates.ca]
        code, err = run_failing(*call, "echo", "hi")
        assert code == 1
        assert "it refused with the TLS alert 'certificate required'; to see what it is" in err
        own = ["--cert", certificates.client.cert, "--key", certificates.client.key]
        assert run(*call, *own, "echo", "hi") == (0, "hi\n", "")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("--url esps://h --cafile x", "--cafile is for TLS: use it with --url esps+tls://h:2867"),
        ("--url esps+tls://h --key x", "--key needs --cert"),
    ],
)
def test_options_that_do_not_go_together(arguments: str, error: str) -> None:
    for command in ("list", "call echo", "ping"):
        name, *service = command.split()
        code, err = run_failing(name, *arguments.split(), *service)
        assert code == 2
        assert err.startswith(f"esps-portal {name}: {error}; see ")


# ---- the server --------------------------------------------------------------------------------


def test_files_that_cannot_be_used_are_one_line(
    certificates: Certificates, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    cert, key, ca = certificates.portal.cert, certificates.portal.key, certificates.ca
    other, encrypted = certificates.client.key, str(tmp_path / "encrypted.key")
    subprocess.run(
        [
            tool("openssl"),
            "pkey",
            "-in",
            key,
            "-aes128",
            "-passout",
            "pass:1234",
            "-out",
            encrypted,
        ],
        check=True,
    )
    nowhere = str(tmp_path / "nowhere")
    cases = [
        (cert, nowhere, None, f"cannot read the private key {nowhere}: No such file or directory"),
        (nowhere, key, None, f"cannot read the certificate {nowhere}: No such file or directory"),
        (str(tmp_path), key, None, f"cannot read the certificate {tmp_path}: Is a directory"),
        (key, key, None, f"there is no certificate in PEM in {key}"),
        (cert, cert, None, f"there is no private key in PEM in {cert}"),
        (cert, other, None, f"the key in {other} does not belong to the certificate in {cert}"),
        (cert, encrypted, None, f"the key in {encrypted} is encrypted: decrypt it, as with op"),
        (cert, key, key, f"there is no certificate in PEM in {key}"),
    ]
    for cert_file, key_file, client_ca, error in cases:
        options = ["--tls-cert", cert_file, "--tls-key", key_file]
        options += [] if client_ca is None else ["--tls-client-ca", client_ca]
        code, out, err = run("serve", "--port", "0", *options)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith(f"esps-portal: {error}")
    assert Path(ca).exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--tls-cert x", "--tls-cert needs --tls-key"),
        ("--tls-key x", "--tls-key needs --tls-cert"),
        ("--tls-client-ca x", "--tls-client-ca needs --tls-cert"),
    ],
)
def test_half_of_what_tls_needs(options: str, error: str) -> None:
    code, err = run_failing("serve", *options.split())
    assert (code, err) == (2, f"esps-portal serve: {error}; see esps-portal serve --help")


def test_tls_needs_tcp(certificates: Certificates) -> None:
    files = certificates.portal
    code, err = run_failing("serve", "--no-tcp", "--tls-cert", files.cert, "--tls-key", files.key)
    assert code == 2
    assert "TLS needs TCP: leave out --no-tcp" in err


def test_udp_beside_tls(certificates: Certificates) -> None:
    files = certificates.portal
    with running_server("--udp", "--tls-cert", files.cert, "--tls-key", files.key) as server:
        assert server.ready["udp"] == [["127.0.0.1", server.port]]
        url = f"esps+udp://127.0.0.1:{server.port}"
        assert run("call", "--url", url, "echo", "x") == (0, "x\n", "")


def test_certificates_are_read_again(certificates: Certificates, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"

    def install(which: str) -> None:
        files = getattr(certificates, which)
        shutil.copy(files.cert, cert)
        shutil.copy(files.key, key)

    def call(cafile: str) -> int:
        url = tls_url(running)
        return run("call", "--url", url, "--cafile", cafile, "echo", "x")[0]

    install("portal")
    with daemon("--tls-cert", str(cert), "--tls-key", str(key)) as running:
        assert (call(certificates.ca), call(certificates.untrusted_ca)) == (0, 1)
        install("untrusted")
        assert hang_up(running) == {"error": None}
        assert (call(certificates.ca), call(certificates.untrusted_ca)) == (1, 0)
        shutil.copy(certificates.portal.key, key)
        error = f"the key in {key} does not belong to the certificate in {cert}"
        assert hang_up(running) == {"error": error}
        assert call(certificates.untrusted_ca) == 0, "the old one is kept"
        log = log_of(running)
    assert f"INFO esps_portal: SIGHUP: reloaded the certificate {cert}" in log
    assert f"ERROR esps_portal: SIGHUP: not reloaded: {error}" in log


def test_s_client(
    server: RunningServer, certificates: Certificates, tool: Callable[[str], str]
) -> None:
    command = [tool("openssl"), "s_client", "-connect", f"127.0.0.1:{server.port}"]
    command += ["-CAfile", certificates.ca, "-verify_return_error", "-alpn", "esps/1"]
    command += ["-verify_ip", "127.0.0.1", "-ign_eof"]
    ran = subprocess.run(
        command, input=b"a PING\nq QUIT\n", capture_output=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert b"* ESPS/1 " in ran.stdout
    assert b"\na OK\nq OK\nclosed\n" in ran.stdout.replace(b"\r", b"")
    assert b"ALPN protocol: esps/1\n" in ran.stdout


# ---- a certificate of its own ------------------------------------------------------------------


def test_a_certificate_of_its_own() -> None:
    with running_server("--tls-self-signed") as server:
        ca = server.ready["tls_ca"]
        assert isinstance(ca, str)
        assert server.ready["tls"] is True
        for host in ("127.0.0.1", "localhost"):
            url = tls_url(server, host)
            assert run("call", "--url", url, "--cafile", ca, "echo", "x") == (0, "x\n", "")
        server.stop()
        assert not Path(ca).exists()


def test_what_a_person_reads() -> None:
    with running_server("--tls-self-signed", json_lines=False) as server:
        first, second = server.first_lines(2).splitlines()
        assert first == f"listening on 127.0.0.1 port {server.port} (TLS)"
        call = ["call", "--url", tls_url(server), *second.split()[-2:], "echo", "x"]
        assert second.startswith("clients trust --cafile /")
        assert run(*call)[:2] == (0, "x\n")


def test_of_its_own_or_from_files() -> None:
    code, err = run_failing("serve", "--tls-self-signed", "--tls-cert", "x")
    assert code == 2
    assert "give --tls-self-signed or the files of a certificate, not both" in err


def test_a_certificate_of_its_own_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    code, out, err = run("serve", "--tls-self-signed")
    needs = "a certificate of its own needs trustme: pip install 'esps-portal[tls]'"
    assert (code, out, err) == (1, "", f"esps-portal: {needs}\n")
    with pytest.raises(MissingExtraError, match=re.escape(needs)):
        ThreadedPortal.start(tls=True)


# ---- faults of certificates --------------------------------------------------------------------


def test_a_certificate_with_a_problem(tmp_path: Path) -> None:
    scenario = tmp_path / "faults.toml"
    scenario.write_text('[[faults]]\nfault = "certificate"\nproblem = "expired"\nconnection = 2\n')
    options = ["--tls-self-signed", "--fault", "certificate problem=wrong-name connection=1"]
    with running_server(*options, "--scenario", str(scenario)) as server:
        call = ["call", "--url", tls_url(server), "--cafile", str(server.ready["tls_ca"])]
        for reason in ("its certificate is for another name", "its certificate has expired"):
            code, err = run_failing(*call, "echo", "x")
            assert (code, err.rpartition(": ")[2]) == (1, reason)
        assert run(*call, "echo", "x") == (0, "x\n", "")


def test_a_certificate_fault_without_such_certificates(
    certificates: Certificates, tmp_path: Path
) -> None:
    needs = "fault 'certificate' needs TLS with certificates of the portal's own: tls=True"
    scenario = tmp_path / "faults.toml"
    scenario.write_text('[[faults]]\nfault = "certificate"\nproblem = "expired"\n')
    files = certificates.portal
    for tls in ([], ["--tls-cert", files.cert, "--tls-key", files.key]):
        for option, value in (
            ("--fault", "certificate problem=expired"),
            ("--scenario", str(scenario)),
        ):
            code, err = run_failing("serve", "--port", "0", *tls, option, value)
            assert code == 2
            assert f"Invalid value for '{option}': " in err
            assert needs in err


# ---- proxies -----------------------------------------------------------------------------------


def test_a_proxy_ends_tls_on_both_sides(server: RunningServer, certificates: Certificates) -> None:
    upstream = ["--upstream", f"esps+tls://127.0.0.1:{server.port}"]
    options = [*upstream, "--upstream-ca", certificates.ca, "--tls-self-signed"]
    fault = ["--fault", "certificate problem=self-signed connection=2"]
    with running_server(*options, *fault, "--access-log", command="proxy") as proxy:
        call = ["call", "--url", tls_url(proxy), "--cafile", str(proxy.ready["tls_ca"])]
        assert run(*call, "echo", "seen") == (0, "seen\n", "")
        code, err = run_failing(*call, "echo", "x")
        assert (code, "its certificate is self-signed" in err) == (1, True)
        log = proxy.stop_and_read_log()
    assert any("echo seen" in line for line in log), "what passes is plain text"


def test_a_proxy_verifies_its_upstream(server: RunningServer) -> None:
    upstream = f"tls://127.0.0.1:{server.port}"
    with running_server("--upstream", upstream, command="proxy") as proxy:
        assert run_failing("call", "--url", proxy.url, "echo", "x")[0] == 1
        log = proxy.stop_and_read_log()
    reason = "its certificate is signed by a CA that is not trusted here"
    assert any(f"cannot reach {upstream}: {reason}" in line for line in log)


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ("--upstream tcp://h:1 --upstream-ca CA", 2, "nothing to trust of tcp://h:1"),
        ("--upstream tls://h:1 --upstream-ca /nowhere", 1, "cannot read the certificate /nowhere"),
        ("--upstream tls://h:1 --tls-key x", 2, "--tls-key needs --tls-cert"),
        ("--upstream tcp://h:1 --fault 'certificate problem=expired'", 2, "of the proxy's own"),
    ],
)
def test_options_of_a_proxy(
    certificates: Certificates, options: str, status: int, error: str
) -> None:
    words = shlex.split(options.replace("CA", certificates.ca))
    code, err = run_failing("proxy", "--port", "0", *words)
    assert code == status
    assert error in err
