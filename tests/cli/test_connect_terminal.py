"""``esps-portal connect`` on a terminal, as a person uses it."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from esps_portal.testing import serve_in_thread
from esps_portal.testing.threaded_portal import ThreadedPortal
from tests.certificates import Certificates
from tests.cli.peers import GREETING
from tests.processes import running_server
from tests.terminal import Terminal

UP, TAB, CTRL_C, CTRL_D = "\x1b[A", "\t", "\x03", "\x04"


@contextlib.contextmanager
def connected(url: str, *options: str) -> Iterator[tuple[Terminal, str]]:
    """Yield a terminal that shows the first prompt, and the prompt."""
    prompt = f"{url.removeprefix('esps://')}> "
    with Terminal("connect", *options, url) as terminal:
        terminal.until(prompt)
        yield terminal, prompt


def test_a_conversation(portal: ThreadedPortal) -> None:
    with connected(portal.url) as (terminal, prompt):
        greeting = terminal.screen.splitlines()[:2]
        assert greeting[0] == f"connected to {portal.url}"
        assert greeting[1].startswith("ESPS/1 esps-portal/")
        for typed, shown in [
            ('echo hello "two words"', "\x1b[1mhello two words\x1b[0m\n"),
            ("drip 2 1", "1\n2\n\x1b[1m2\x1b[0m\n"),
            ("PING", "\x1b[1mOK\x1b[0m\n"),
            ("fail busy later", "busy later\n"),
            ('echo "', "esps-portal: no closing quotation; type help for help\n"),
            ("# nothing", ""),
            ("", ""),
        ]:
            terminal.type(f"{typed}\r")
            assert terminal.until(prompt) == f"{typed}\n{shown}{prompt}"
        terminal.type("help\r")
        assert "\nquit, Ctrl-D             end\n" in terminal.until(prompt)
        terminal.type(CTRL_D)
        assert terminal.wait() == (0, "\n")
        assert max(map(len, terminal.screen.splitlines())) <= 80
        assert terminal.is_restored


@pytest.mark.parametrize("last", ["quit", "exit", "QUIT"])
def test_quit(portal: ThreadedPortal, last: str) -> None:
    with connected(portal.url) as (terminal, prompt):
        terminal.type("fail x-a\r")
        terminal.until(prompt)
        terminal.type(f"{last}\r")
        assert terminal.wait()[0] == 0


def test_up_recalls_a_line_and_tab_completes_one(portal: ThreadedPortal) -> None:
    pytest.importorskip("readline")
    with connected(portal.url) as (terminal, prompt):
        terminal.type(f"ech{TAB}a\r")
        assert terminal.until(prompt).startswith("echo a\n")
        terminal.type(f"{UP}b\r")
        assert terminal.until(prompt) == f"echo ab\n\x1b[1mab\x1b[0m\n{prompt}"
        terminal.type(f"HE{TAB}{TAB}\r")
        assert terminal.until(prompt).startswith("HELLO ESPS/1 \n\x1b[1mESPS/1 ")
        terminal.type(f"LIST cou{TAB}\r")
        assert terminal.until(prompt).startswith("LIST count \n\x1b[1mcount ")


def test_what_is_pasted_is_several_lines(portal: ThreadedPortal) -> None:
    with connected(portal.url) as (terminal, _):
        terminal.type("echo a\recho b\r")
        assert terminal.until("\x1b[1ma\x1b[0m\n")
        assert terminal.until("\x1b[1mb\x1b[0m\n")


# ---- Ctrl-C ------------------------------------------------------------------------------------


def test_ctrl_c_at_the_prompt_drops_the_line(portal: ThreadedPortal) -> None:
    with connected(portal.url) as (terminal, prompt):
        terminal.type("echo dropped")
        terminal.until("echo dropped")
        terminal.type(CTRL_C)
        assert terminal.until(prompt) == f"\n{prompt}"
        terminal.type("echo on\r")
        assert terminal.until(prompt) == f"echo on\n\x1b[1mon\x1b[0m\n{prompt}"


@pytest.mark.parametrize("scheme", ["esps", "esps+udp"])
def test_ctrl_c_cancels_the_call(scheme: str) -> None:
    is_udp = scheme == "esps+udp"
    says = "no longer waited for: UDP has no CANCEL" if is_udp else "cancelled"
    with serve_in_thread() as portal, connected(f"{scheme}://127.0.0.1:{portal.port}") as shown:
        terminal, prompt = shown
        for count in (1, 2):
            terminal.type("delay 60000\r")
            terminal.until("delay 60000\n")
            portal.wait_for("delay", count=count, timeout=30)
            terminal.type(CTRL_C)
            assert terminal.until(prompt) == f"^C\nesps-portal: {says}\n{prompt}"
        terminal.type("echo on\r")
        assert terminal.until(prompt) == f"echo on\n\x1b[1mon\x1b[0m\n{prompt}"
        assert portal.transcript().count("ERR cancelled") == (0 if is_udp else 2)


def test_ctrl_c_between_the_lines_of_a_call(portal: ThreadedPortal) -> None:
    with connected(portal.url) as (terminal, prompt):
        terminal.type("drip 10000 20\r")
        terminal.until("\n2\n")
        terminal.type(CTRL_C)
        # A line may come just then, and stand between the two.
        assert terminal.until(prompt).endswith(f"\nesps-portal: cancelled\n{prompt}")
        terminal.type("stats\r")
        assert terminal.until(prompt).startswith("stats\n\x1b[1m")


def test_ctrl_c_at_once_after_enter_does_not_end_it(portal: ThreadedPortal) -> None:
    """Whether it comes before the request is sent, or after: there is a prompt again."""
    with connected(portal.url) as (terminal, prompt):
        for _ in range(5):
            terminal.type("delay 60000\r")
            terminal.until("delay 60000\n")
            terminal.type(CTRL_C)
            terminal.until(prompt)
        terminal.type("echo on\r")
        assert terminal.until(prompt) == f"echo on\n\x1b[1mon\x1b[0m\n{prompt}"


def test_ctrl_c_as_json(portal: ThreadedPortal) -> None:
    with connected(portal.url, "--json") as (terminal, prompt):
        assert terminal.screen == prompt
        terminal.type("drip 10000 20\r")
        terminal.until('{"type": "data", "args": ["2"]}\n')
        terminal.type(CTRL_C)
        event = '{"error": "cancelled", "message": "cancelled"}\n'
        assert event in terminal.until(prompt)


# ---- while the prompt waits --------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("tls", [False, True])
def test_a_portal_that_goes_away(
    number: signal.Signals, certificates: Certificates, *, tls: bool
) -> None:
    files = certificates.portal
    options = ("--tls-cert", files.cert, "--tls-key", files.key) if tls else ()
    with running_server(*options) as server:
        url = f"esps{'+tls' * tls}://127.0.0.1:{server.port}"
        trusted = ("--cafile", certificates.ca) if tls else ()
        with connected(url, *trusted) as (terminal, prompt):
            terminal.type("echo hi\r")
            assert terminal.until(prompt) == f"echo hi\n\x1b[1mhi\x1b[0m\n{prompt}"
            terminal.type("echo unfin")
            terminal.until("echo unfin")
            server.process.send_signal(number)
            code, shown = terminal.wait()
            assert terminal.is_restored
    if number == signal.SIGTERM:
        ended = "esps-portal: the portal ended the connection (reason: closing)\n"
        assert shown.startswith("\n* BYE closing\n")
        assert (code, shown[-len(ended) :]) == (1, ended)
    else:
        assert (code, shown.count("\n")) == (1, 2)
        assert shown.startswith("\nesps-portal: the portal ")


@contextlib.contextmanager
def scripted() -> Iterator[tuple[str, socket.socket]]:
    """Yield the URL of a server that the test plays, and its listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield "esps://{}:{}".format(*server.getsockname()), server


def accepted(server: socket.socket) -> socket.socket:
    stream, _ = server.accept()
    stream.settimeout(30)
    return stream


def connecting(url: str, *options: str) -> Terminal:
    """Run the command for a server of this test, which may greet late on a busy machine.

    It would then send a HELLO more, which no test expects.
    """
    script = "from esps_portal.client import tcp; tcp.HELLO_DELAY = 60"
    run = "from esps_portal.cli import main; main()"
    return Terminal("connect", url, *options, script=f"{script}\n{run}")


def answer(stream: socket.socket, requests: IO[bytes], reply: str) -> bytes:
    """Answer the next request, and return it without its tag."""
    tag, _, request = next(requests).partition(b" ")
    stream.sendall(tag + f" {reply}\n".encode())
    return request


def test_a_notice_leaves_what_is_typed_as_it_is() -> None:
    pytest.importorskip("readline")
    with scripted() as (url, server), connecting(url) as terminal:
        stream = accepted(server)
        with stream, stream.makefile("rb") as requests:
            stream.sendall(GREETING.encode())
            answer(stream, requests, "OK ESPS/1 a%1B[2J" + "x" * 500)
            prompt = f"{url.removeprefix('esps://')}> "
            assert terminal.until("help\n").count("x") < 80
            terminal.until(prompt)
            terminal.type("echo on")
            terminal.until("echo on")
            stream.sendall(b"* ERR x-odd %1B[2J\n")
            shown = terminal.until(f"{prompt}echo on")
            assert shown == f"\n* ERR x-odd \\x1b[2J\n{prompt}echo on"
            terminal.type("e\r")
            assert answer(stream, requests, "OK %1B[2J") == b"CALL echo one\n"
            assert terminal.until(prompt) == f"e\n\x1b[1m\\x1b[2J\x1b[0m\n{prompt}"
            assert "\x1b[2J" not in terminal.screen


def test_a_notice_during_a_call_is_shown_at_once() -> None:
    with scripted() as (url, server), connecting(url) as terminal:
        stream = accepted(server)
        with stream, stream.makefile("rb") as requests:
            stream.sendall(GREETING.encode())
            answer(stream, requests, "OK ESPS/1 test/1")
            terminal.until("> ")
            terminal.type("slow\r")
            tag = next(requests).split()[0]
            stream.sendall(b"* BYE closing\n")
            terminal.until("\n* BYE closing\n")
            stream.sendall(tag + b" OK done\n")
            assert "done" in terminal.until("> ")


def test_a_portal_that_goes_away_while_tab_is_asked() -> None:
    """Readline drops an exception of its completer; the end of the connection is noticed after."""
    pytest.importorskip("readline")
    with scripted() as (url, server), connecting(url) as terminal:
        stream = accepted(server)
        with stream, stream.makefile("rb") as requests:
            stream.sendall(GREETING.encode())
            answer(stream, requests, "OK ESPS/1 test/1")
            terminal.until("> ")
            terminal.type(f"ec{TAB}")
            assert next(requests).split()[1:] == [b"LIST"]
            stream.sendall(b"* BYE idle\n")
        code, shown = terminal.wait()
    assert (code, "(reason: idle)\n" in shown) == (1, True)


def test_ctrl_c_is_a_cancel_on_the_wire() -> None:
    with scripted() as (url, server), connecting(url) as terminal:
        stream = accepted(server)
        with stream, stream.makefile("rb") as requests:
            stream.sendall(GREETING.encode())
            answer(stream, requests, "OK ESPS/1 test/1")
            terminal.until("> ")
            terminal.type("slow\r")
            tag = next(requests).split()[0]
            terminal.type(CTRL_C)
            assert next(requests).split()[1:] == [b"CANCEL", tag]
            terminal.until("cancelled\n")
            terminal.until("> ")
            terminal.type(CTRL_D)
            assert next(requests) == b"q QUIT\n"
            assert terminal.wait()[0] == 0


# ---- the terminal ------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_restored(
    portal: ThreadedPortal, number: signal.Signals
) -> None:
    with connected(portal.url) as (terminal, _):
        terminal.type("ech")
        terminal.until("ech")
        terminal.send_signal(number)
        assert terminal.wait()[0] == 128 + number
        assert terminal.is_restored


def test_no_prompt_is_written_into_a_file(portal: ThreadedPortal, tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = (
        "import os, sys; from esps_portal.cli import main; url, output = sys.argv[1:];"
        "os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY), 1); main(['connect', url])"
    )
    with Terminal(portal.url, str(output), script=script) as terminal:
        terminal.type("echo a\n\x04")
        assert terminal.wait()[0] == 0
    assert output.read_text() == "a\n"
