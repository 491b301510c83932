"""The probes for nmap, used by nmap itself on real servers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from esps_portal.inspection.probe import ESPS, ProbeTarget, probe_all
from esps_portal.product import PRODUCT
from esps_portal.signatures.nmap import CannotMergeError, merge_probes
from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.commands import run
from tests.line_servers import counter, datagram_server, line_server
from tests.processes import running_server
from tests.signatures.nmap_files import PROBES, scanned_by_port

NMAPS_OWN = Path("/usr/share/nmap/nmap-service-probes")

Services = dict[tuple[str, int], dict[str, str]]
Scan = Callable[..., Services]


@pytest.fixture
def scan(tool: Callable[[str], str], tmp_path: Path) -> Scan:
    """Return a function that runs nmap with a file of probes, on ports such as ``T:7,U:9``.

    It returns the attributes of each service that a probe has identified.
    """

    def run_nmap(probes: str | bytes, ports: str, *options: str) -> Services:
        nmap = tool("nmap")
        if "-sU" in options and os.geteuid() != 0:
            pytest.skip("nmap -sU needs root")
        file = tmp_path / "probes"
        file.write_bytes(probes if isinstance(probes, bytes) else probes.encode())
        # Scripts of nmap's look at what no probe has recognised, for many seconds.
        options = ("--script-timeout", "1s", *options)
        scanned = [*options, "-sV", "-n", "-Pn", "--max-retries", "0", "-p", ports, "127.0.0.1"]
        ran = subprocess.run(
            [nmap, "--versiondb", str(file), *scanned, "-oX", "-"],
            capture_output=True,
            check=True,
            timeout=100,
        )
        assert not ran.stderr, ran.stderr
        root = ET.fromstring(ran.stdout)  # noqa: S314 - written by nmap
        return {
            (port.attrib["protocol"], int(port.attrib["portid"])): service.attrib
            for port in root.iter("port")
            if (service := port.find("service[@method='probed']")) is not None
        }

    return run_nmap


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def is_portal(service: dict[str, str]) -> None:
    product, version = PRODUCT.split("/")
    assert (service["name"], service["conf"]) == ("esps-portal", "10")
    assert (service["product"], service["version"]) == (product, version)
    assert service["extrainfo"] == "ESPS/1"


@pytest.mark.heavy
def test_a_served_portal_over_both_transports(scan: Scan) -> None:
    """On another port than 2867, with the defaults of ``-sV``."""
    with running_server() as server:
        services = scan(run("signature", "nmap")[1], str(server.port), "-sT", "-sU")
    assert list(services) == [("tcp", server.port), ("udp", server.port)]
    for service in services.values():
        is_portal(service)


@pytest.mark.heavy
@pytest.mark.skipif(not NMAPS_OWN.is_file(), reason="nmap's own probes are elsewhere")
def test_merged_with_the_probes_of_nmap(portal: ThreadedPortal, scan: Scan, tmp_path: Path) -> None:
    code, merged, err = run("signature", "nmap", "--merge", str(NMAPS_OWN))
    assert (code, err) == (0, "")
    # 2867 may be taken here, and over UDP nmap asks on other ports last.
    merged = merged.replace("ports 2867", f"ports {portal.port}")
    services = scan(merged, str(portal.port), "-sT", "-sU")
    for transport in ("tcp", "udp"):
        is_portal(services[transport, portal.port])
    again = tmp_path / "merged"
    again.write_text(merged)
    code, out, err = run("signature", "nmap", "--merge", str(again))
    assert (code, out) == (1, "")
    assert err == f"esps-portal: cannot merge with {again}: it has these probes already\n"


@pytest.mark.heavy
def test_a_late_greeting(scan: Scan) -> None:
    """HELLO over TCP: here the server sends nothing before the first line came."""

    def answer(line: bytes) -> bytes:
        assert line == b"nmap HELLO ESPS/1\n"
        return b"* ESPS/1 late/1\nnmap OK ESPS/1 late/2 max-line=512\n"

    with line_server(answer) as url:
        port = port_of(url)
        services = scan(scanned_by_port(port), str(port), "-sT")
    found = services["tcp", port]
    assert (found["product"], found["version"], found["extrainfo"]) == ("late", "2", "ESPS/1")


# ---- the two tools agree -----------------------------------------------------------------------


def answer_ping(line: bytes) -> bytes:
    """Answer a PING; where the greeting is another one, neither tool asks."""
    tag, verb, *args = line.split()
    return b" ".join([tag, b"OK", *args]) + b"\r\n" if verb == b"PING" else b""


@pytest.fixture
def servers(portal: ThreadedPortal) -> Iterator[dict[tuple[str, int], bool]]:
    """Return the transport and port of servers, and whether it is a portal."""
    with ExitStack() as stack:
        found = {("tcp", portal.port): True, ("udp", portal.port): True}
        for greeting, is_esps in (
            (b"* BYE busy\n", True),
            (b"* ESPS/1 other-server/2.1+x more\r\n", True),
            (b"* BYE Autologout\r\n", False),  # of IMAP
            (b"SSH-2.0-OpenSSH_9.2\r\n", False),
            (b"", False),
        ):
            server = line_server(answer_ping, greeting)
            found["tcp", port_of(stack.enter_context(server))] = is_esps
        found["tcp", stack.enter_context(serve_in_thread(tls=True)).port] = True
        found["tcp", port_of(stack.enter_context(line_server(counter())))] = False
        found["udp", port_of(stack.enter_context(datagram_server()))] = False
        yield found


@pytest.mark.heavy
def test_inspect_and_nmap_agree(servers: dict[tuple[str, int], bool], scan: Scan) -> None:
    """For nmap the greeting is enough; a server that does not reply to PING is none to inspect."""
    ports = [f"{transport[0].upper()}:{port}" for transport, port in servers]
    by_nmap = scan(scanned_by_port(2867), ",".join(ports), "-sT", "-sU")
    targets = [ProbeTarget(transport, "127.0.0.1", port) for transport, port in servers]
    inspected = {(result.transport, result.port): result for result in probe_all(targets, 2.0)}
    for place, is_esps in servers.items():
        result, service = inspected[place], by_nmap.get(place, {})
        assert (result.verdict == ESPS) is is_esps, place
        assert (service.get("name") == "esps-portal") is is_esps, place
        if result.product is not None:
            assert f"{service['product']}/{service['version']}" == result.product


# ---- merging -----------------------------------------------------------------------------------

THEIRS = (
    b"Exclude T:9100\nProbe TCP NULL q||\ntotalwaitms 6000\nmatch a m|^a|\nProbe UDP Help q|h|\n"
)


def test_nothing_of_the_other_file_is_lost() -> None:
    merged = merge_probes(PROBES.encode(), THEIRS.removesuffix(b"\n"))
    lines = merged.splitlines()
    kept = [line for line in lines if line in THEIRS.splitlines()]
    assert kept == THEIRS.splitlines()
    assert lines.count(b"Probe TCP NULL q||") == 1
    ours = [
        line for line in PROBES.encode().splitlines() if line.startswith((b"match ", b"Probe "))
    ]
    assert set(ours) <= set(lines)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (b"", "no line 'Probe TCP NULL q||': it is not an nmap-service-probes"),
        (THEIRS + b"Probe UDP EspsHello q|x|\n", "it has these probes already"),
    ],
)
def test_what_cannot_be_merged(theirs: bytes, reason: str) -> None:
    with pytest.raises(CannotMergeError, match=f"^{reason.replace('|', '.')}$"):
        merge_probes(PROBES.encode(), theirs)
