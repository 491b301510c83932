"""``esps-portal conformance`` against our own server, and against small broken ones."""

from __future__ import annotations

import json
import re
import shlex
import socket
import struct
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from esps_portal.journal.pcap import HEADER_SIZE, is_own_header
from tests.commands import run, run_failing
from tests.conformance.broken_servers import tiny_server
from tests.processes import running_server
from tests.terminal import Terminal

XSD = Path(__file__).with_name("junit.xsd")
BYTES_OF_A_SCRIPT = b"<script>&\x1b[2J"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with running_server() as server:
        yield f"127.0.0.1:{server.port}"


def outcomes(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    *found, summary = map(json.loads, text.splitlines())
    return found, summary


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.heavy)])
def test_our_server_passes(address: str, times: int) -> None:
    """It passes again: nothing of the first run is left."""
    for _ in range(times):
        code, out, err = run("conformance", "--json", "-W", "30", address)
        found, summary = outcomes(out)
        assert [o for o in found if o["verdict"] not in ("pass", "unsupported")] == []
        assert (code, err) == (0, "")
        assert summary["product"] == "esps-portal/0.1.0"
        assert summary["pass"] > 200


def test_a_url_names_the_transport(address: str) -> None:
    code, out, _ = run("conformance", "--json", "-W", "30", f"esps+udp://{address}")
    found, _ = outcomes(out)
    assert code == 0
    for outcome in found:
        over_udp = outcome["vector"].startswith("udp-") or outcome["vector"].endswith("-udp")
        assert over_udp or outcome["verdict"] == "unsupported"


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b'TAG OK x A "" junk\n', "line"),
        (b"TAG OK x A\n", "line"),
        (b'TAG OK x %41 ""\n', "form"),
        (b'TAG OK x A ""\r\n', "form"),
        (b'other OK x A ""\n', "line"),
        (b"", "time"),
        (b'TAG OK x A ""\nTAG OK\n', "line"),
    ],
)
def test_a_wrong_reply_fails(reply: bytes, kind: str) -> None:
    def change(line: bytes) -> bytes:
        return reply.replace(b"TAG", line.split()[0]) if line.endswith(b'%41 ""\n') else line

    with tiny_server(change) as url:
        seconds = "20" if reply else "0.5"
        code, out, _ = run("conformance", "--json", "-W", seconds, "--only", "tcp-ping", url)
    found, summary = outcomes(out)
    assert code == 1
    assert [(o["verdict"], o["mismatch"]["kind"]) for o in found] == [("fail", kind)] * 2
    assert summary["failed"]


def test_a_failure_says_what_was_required_allowed_and_seen() -> None:
    with tiny_server(lambda line: line.replace(b"OK x", b"OK x\x1b[2J")) as url:
        code, out, _ = run("conformance", "--only", "tcp-ping", url)
        assert code == 1
        assert "FAIL tcp-ping" in out
        assert re.search(r"ESPS-ARG-2 \(4\.1\): An encoder MUST escape every octet", out)
        assert "allowed: " in out
        assert r"x\x1b[2J" in out
        assert "1b 5b 32 4a" in out
        assert "\x1b" not in out
        again = re.search(r"again: esps-portal (.*)", out)
        assert again is not None
        assert run(*shlex.split(again[1]))[0] == 1


def test_a_service_that_is_not_there_is_no_failure() -> None:
    with tiny_server() as url:
        _, out, _ = run("conformance", "--json", "--only", "tcp-echo", url)
    found, _ = outcomes(out)
    assert {(o["verdict"], o["reason"]) for o in found} == {
        ("unsupported", "needs the service echo")
    }


def test_a_should_is_a_warning() -> None:
    with tiny_server() as url:
        code, out, _ = run("conformance", "--only", "tcp-errors-say-what-to-do", url)
    assert code == 0
    assert "WARN tcp-errors-say-what-to-do" in out
    assert "ESPS-ERR-6 (9): A server SHOULD send an error text" in out


def test_a_wrong_greeting_fails() -> None:
    with tiny_server(greeting=b"220 ready\n") as url:
        code, out, _ = run("conformance", "--only", "tcp-ping", url)
    assert code == 1
    assert "came: 220 ready" in out


def test_nobody_there() -> None:
    with tiny_server() as url:
        pass
    code, out, _ = run("conformance", "--json", "-W", "0.3", url)
    found, summary = outcomes(out)
    assert code == 1
    assert {o["reason"] for o in found if o["verdict"] == "error"} == {
        "over TCP: connection refused"
    }
    assert summary["error"] > 100


def test_a_server_that_says_nothing_is_not_waited_for_by_each_vector() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = "esps://{}:{}".format(*silent.getsockname())
        code, out, _ = run("conformance", "--json", "-W", "0.1", url)
    found, summary = outcomes(out)
    assert code == 1
    assert {o["reason"] for o in found if o["verdict"] == "error"} == {
        "over TCP: no greeting, and no reply to PING"
    }
    assert summary["fail"] == 0


def test_a_server_without_a_greeting_is_judged() -> None:
    with tiny_server(greeting=b"") as url:
        code, out, _ = run("conformance", "--only", "tcp-ping", "-W", "0.1", url)
    assert code == 1
    assert "FAIL tcp-ping" in out


def test_a_terminal_shows_how_far_it_is(address: str) -> None:
    with Terminal("conformance", "--only", "tcp-ping", "-W", "30", address) as terminal:
        code, shown = terminal.wait()
    progress, _, report = shown.rpartition("\r")
    assert code == 0
    counts = "".join(f"\r{done} of 2 runs of vectors" for done in range(3))
    assert progress.startswith(f"{counts}\r "), "before the first is done, too"
    assert report.startswith(address)


def test_on_a_terminal_an_error_has_a_line_of_its_own() -> None:
    with Terminal("conformance", "--only", "tcp-ping", "nowhere.invalid") as terminal:
        code, shown = terminal.wait()
    assert code == 1
    assert shown.rpartition("\r ")[2].strip(" \r\n").startswith("esps-portal: cannot find nowhere")


# ---- what to run -------------------------------------------------------------------------------


def listed(*options: str) -> list[dict[str, Any]]:
    code, out, _ = run("conformance", "--list", "--json", *options)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


def test_a_section() -> None:
    ends = listed("--section", "6.5")
    assert "tcp-quit" in {vector["vector"] for vector in ends}
    assert all("6.5" in vector["sections"] for vector in ends)
    assert len(ends) < len(listed("--section", "6")) < len(listed())


def test_skip_and_level() -> None:
    names = {vector["vector"] for vector in listed("--skip", "tcp-quit", "--level", "must")}
    assert "tcp-quit" not in names
    assert "tcp-ping" in names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cafile", __file__, "esps://h"], "--cafile is for TLS: use it with --url esps+tls://h"),
        (["--server", "--cafile", __file__, "--", "x"], "--cafile is for a target esps+tls://"),
        (["--section", "99"], "no requirement in '99'"),
        (["--only", "tcp-quitt"], "no vector 'tcp-quitt' (did you mean 'tcp-quit'"),
        (["--skip", "x"], "--skip: there is no vector 'x'"),
        (["--only", "tcp-quit", "--skip", "tcp-quit"], "no vector is left"),
        (["not a target"], "is not the address of a portal"),
        (["--server"], "--server needs CMD, with {port}"),
        (["--server", "--", "true"], "--server needs CMD, with {port}"),
        (["--limits-env", "localhost"], "--limits-env is for --server"),
    ],
)
def test_bad_usage(options: list[str], message: str) -> None:
    code, line = run_failing("conformance", *options)
    assert code == 2
    assert message in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max-lines = 3", "there is no limit 'max-lines' (did you mean 'max-line'"),
        ("idle = 'x'", "idle must be a positive number"),
        ("idle = 0", "idle must be a positive number"),
        ("idle = true", "idle must be a positive number"),
        ("idle", "limits.toml"),
    ],
)
def test_a_wrong_file_of_limits(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text(text)
    code, line = run_failing("conformance", "--limits", str(tmp_path / "limits.toml"), "localhost")
    assert code == 2
    assert message in line


def test_limits_that_hello_does_not_tell(tmp_path: Path) -> None:
    file = tmp_path / "limits.toml"
    file.write_text("drain = 0.4\nlinger = 0.4\nstall = 0.4\nmax-line = 9000\n")
    limits = ["--limit", "drain=0.4", "--limit", "linger=0.4", "--limit", "stall=0.4"]
    only = ["--only", "tcp-drain-ends", "--only", "tcp-hello"]
    with running_server(*limits) as server:
        _, out, _ = run("conformance", "--json", *only, "--limits", str(file), server.url)
    verdicts = {outcome["vector"]: outcome["verdict"] for outcome in outcomes(out)[0]}
    assert verdicts == {"tcp-drain-ends": "pass", "tcp-hello": "fail"}  # max-line is another
    code, line = run_failing("conformance", "--limits", str(file), "--server", "--", "x", "{port}")
    assert (code, "--limits is not for --server" in line) == (2, True)


def test_known_failing(tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text("tcp-ping  # it shouts\n\ntcp-padding-ignored\n")
    options = ["--only", "tcp-ping", "--only", "tcp-padding-ignored", "--known-failing", str(known)]
    with tiny_server(lambda line: line.replace(b"x A", b"X A").replace(b" ######", b"")) as url:
        code, out, _ = run("conformance", *options, url)
        assert code == 0
        assert "FAIL tcp-ping (known to fail)" in out
        assert "tcp-padding-ignored passes now" in out
        _, out, _ = run("conformance", "--json", *options, url)
        assert outcomes(out)[1]["pass_unexpectedly"] == ["tcp-padding-ignored"]
        known.write_text("tcp-pong")
        assert run("conformance", *options, url)[0] == 2


# ---- files -------------------------------------------------------------------------------------


def broken_and_whole(address: str, *options: str) -> None:
    """Judge our server and a broken one."""
    with tiny_server(lambda line: line.replace(b"OK x", b"OK x" + BYTES_OF_A_SCRIPT)) as url:
        names = ["tcp-ping", "tcp-echo", "tcp-padding-ignored"]
        only = [part for name in names for part in ("--only", name)]
        assert run("conformance", *only, *options, address, url)[0] == 1


def test_junit(address: str, tmp_path: Path) -> None:
    import xmlschema  # noqa: PLC0415 - no other test waits for it

    file = tmp_path / "junit.xml"
    broken_and_whole(address, "--junit", str(file))
    xmlschema.XMLSchema(str(XSD)).validate(str(file))
    whole, broken = ET.parse(file).getroot()  # noqa: S314 - it is our own
    assert (whole.get("tests"), whole.get("failures")) == ("6", "0")
    assert (broken.get("failures"), broken.get("skipped")) == ("4", "2")
    (failure, *_) = broken.iter("failure")
    assert "An encoder MUST escape every octet" in str(failure.text)


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_a_page(address: str, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    broken_and_whole(address, "--report", str(file))
    text = file.read_text()
    page = Page(text)
    assert page.tags.isdisjoint({"script", "link", "img", "iframe"})
    assert page.attributes <= {"lang", "charset", "class", "id"}
    assert "&lt;script&gt;&amp;" in text
    assert f"<th>{address}</th>" in text
    assert "ESPS-LINE-3<br>" in text
    assert "A receiver MUST accept only LF as the end of a line." in text


def test_a_capture(address: str, tmp_path: Path) -> None:
    file = tmp_path / "run.pcap"
    assert run("conformance", "-W", "30", "--section", "4.1", "--pcap", str(file), address)[0] == 0
    data = file.read_bytes()
    assert is_own_header(data[:HEADER_SIZE])
    place, protocols = HEADER_SIZE, set()
    while place < len(data):
        _, _, kept, whole = struct.unpack("<IIII", data[place : place + 16])
        assert kept == whole
        protocols.add(data[place + 16 + 9])
        place += 16 + kept
    assert place == len(data)
    assert protocols == {6, 17}  # TCP, and UDP of a vector that cites a requirement of both


def test_a_file_that_cannot_be_written(address: str, tmp_path: Path) -> None:
    code, line = run_failing("conformance", "--report", str(tmp_path / "no" / "x.html"), address)
    assert code == 1
    assert "cannot write" in line
