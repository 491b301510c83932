"""What a client may conclude from an error, and what an operator may rely on."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys

import pytest

from esps_portal import Limits, ReplyError, ServerConfig
from esps_portal.protocol.messages import ERR, Notice, Reply, parse_answer_untrusted
from esps_portal.protocol.registry import ERRORS
from esps_portal.services.builtin_portal import builtin_portal
from tests.portals import Running, StreamPeer, running
from tests.processes import running_server

# What draws each error over TCP, and would have counted had it been executed. No service of a
# portal's own answers `unmatched`; `idle` is the word of a BYE; the rest need a situation.
PLAIN = {
    "bad-line": b"a CALL count  seen",
    "too-long": b"a CALL count seen " + b"#" * 8192,
    "bad-arguments": b"a CALL count seen seen",
    "unknown-verb": b"a call count seen",
    "unknown-service": b"a CALL coun seen",
    "unsupported-version": b"a HELLO ESPS/2",
    "not-in-flight": b"a CANCEL count",
}


async def errors_among(peer: StreamPeer, count: int) -> dict[str, tuple[bytes, ...]]:
    """Read so many lines and return the arguments behind the code of each error."""
    found = {}
    for _ in range(count):
        answer = parse_answer_untrusted(await peer.line())
        if ERR in (getattr(answer, "kind", None), getattr(answer, "word", None)):
            code, *rest = answer.args
            found[code.decode()] = tuple(rest)
    return found


def assert_words(errors: dict[str, tuple[bytes, ...]]) -> None:  # ESPS-ERR-6
    """Behind the machine arguments there are words, but for what a client asked for itself."""
    for code, rest in errors.items():
        if code not in ("tag-in-use", "cancelled"):
            assert b"".join(rest[ERRORS[code].machine_arguments :]), code


async def executed(portal: Running) -> int:
    """Return how often ``count seen`` was executed, this time apart."""
    peer = await portal.tcp()
    await peer.send(b"x CALL count seen\n")
    return int((await peer.line()).removeprefix(b"x OK ")) - 1


@pytest.mark.parametrize(("code", "line"), PLAIN.items())
async def test_an_error_means_what_the_table_says(code: str, line: bytes) -> None:
    # ESPS-ERR-1, ESPS-ERR-6, ESPS-CHK-5, ESPS-CHK-6
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"0 PING\n" + line + b"\nb PING\n")
        errors = await errors_among(peer, 3)
        assert list(errors) == [code]
        assert_words(errors)
        assert ERRORS[code].executed in ("no", "maybe")
        assert await executed(portal) == 0
        assert not ERRORS[code].ends  # the answer to `b` was the other line


async def test_tag_in_use_and_busy_execute_nothing() -> None:  # ESPS-ERR-1, ESPS-CHK-5
    async with running(max_in_flight=1) as portal:
        peer = await portal.tcp()
        await peer.send(b"a CALL stall\na CALL count seen\nb CALL drip 1 0\nc PING\n")
        errors = await errors_among(peer, 3)
        assert errors["tag-in-use"] == (b"a",)
        assert list(errors) == ["tag-in-use", "busy"]
        assert_words(errors)
        assert await executed(portal) == 0
        await peer.send(b"d CANCEL a\nb CALL drip 1 0\n")  # the same again, later
        assert await errors_among(peer, 4) == {"cancelled": ()}


async def test_closing_means_not_executed_to_what_came_later() -> None:
    # ESPS-ERR-1, ESPS-END-6
    portal = builtin_portal("test/1", Limits(drain=0.05))
    counted = []
    portal.service(name="seen")(lambda: counted.append(1))
    async with running(portal) as listening:
        peer = await listening.tcp()
        await peer.send(b"a CALL stall\nb PING\n")
        assert await peer.line() == b"b OK"
        listening.shut_down()
        assert await peer.line() == b"* BYE closing"
        await peer.send(b"c CALL seen\n")
        later = await errors_among(peer, 1)
        ran = await errors_among(peer, 1)
        assert list(later) == list(ran) == ["closing"]
        assert_words(later)
        assert_words(ran)
        assert ERRORS["closing"].ends
        assert await peer.line() == b""
        assert counted == []


async def test_every_code_of_a_portal_is_in_the_table() -> None:  # ESPS-ERR-1, ESPS-ERR-4
    """Whatever is thrown at it. Codes that a user asked for by ``fail`` are the user's."""
    verbs = (b"HELLO", b"PING", b"LIST", b"CALL", b"CANCEL", b"OK", b"*", b"")
    names = [service.name.encode() for service in builtin_portal("test/1").services]
    calm = [name for name in names if name not in (b"close", b"reset", b"stall", b"fail")]
    lines = [
        b"a %b %b" % (verb, rest) for verb in verbs for rest in (b"", b"x", b'""', b"% %", b"a")
    ]
    lines += [b"a CALL %b %b" % (name, rest) for name in calm for rest in (b"x", b'""', b"1 2 3 4")]
    async with running() as portal:
        peer = await portal.tcp()
        await peer.send(b"0 PING\n" + b"\n".join(lines) + b"\nz QUIT\n")
        answers = [parse_answer_untrusted(line) for line in (await peer.rest()).splitlines()]
    codes = {
        answer.args[0].decode()
        for answer in answers
        if (isinstance(answer, Reply) and answer.kind == ERR)
        or (isinstance(answer, Notice) and answer.word == ERR)
    }
    assert codes <= set(ERRORS)
    assert len(codes) > 5


async def test_the_limits_in_force_are_announced() -> None:  # ESPS-LIM-2
    said = b" max-line=1000 max-in-flight=3 max-datagram=500 idle=0.5 window=7"
    async with running(
        max_line=1000, max_in_flight=3, max_datagram=500, idle=0.5, window=7
    ) as portal:
        peer = await portal.tcp()
        await peer.send(b"a HELLO ESPS/1\n")
        assert (await peer.line()).endswith(said)
        other = portal.udp()
        assert (await other.ask(b"a HELLO ESPS/1 %b\n" % (b"#" * 40))).endswith(said + b"\n")


@pytest.mark.parametrize(
    "refused",
    [("x-long", "x" * 9000), ("x-long", b"\xff" * 3000), ("No Name",), ("",), ("x" * 65,), ("ü",)],
)
async def test_a_refusal_that_is_no_line_is_a_failure(refused: tuple[str | bytes, ...]) -> None:
    # ESPS-VERB-15, ESPS-VERB-16
    portal = builtin_portal("test/1")
    code, *words = refused

    @portal.service
    def now() -> None:
        raise ReplyError(str(code), *words)

    @portal.service
    async def later() -> None:
        raise ReplyError(str(code), *words)

    async with running(portal) as listening:
        peer = await listening.tcp()
        await peer.send(b"a CALL now\nb CALL later\n")
        assert list(await errors_among(peer, 2)) == ["failed"]


def test_it_listens_on_loopback_unless_told_otherwise() -> None:  # ESPS-SEC-4
    assert ServerConfig().hosts == ("127.0.0.1",)
    with running_server() as process:
        listening = [process.ready["tcp"], process.ready["udp"]]
        assert listening == [[["127.0.0.1", process.port]]] * 2


def test_who_is_connected_is_served_when_nobody_else_can_be() -> None:  # ESPS-SEC-3
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40));"
        "sys.argv = ['esps-portal', 'serve', '--port', '0', '--json'];"
        "from esps_portal.cli import main; main()"
    )
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        assert process.stderr is not None
        port = int(process.stdout.readline().split(b'"127.0.0.1", ')[1].split(b"]")[0])
        first = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        answers = stack.enter_context(first.makefile("rb"))
        assert answers.readline().startswith(b"* ESPS/1 ")
        for _ in range(60):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
        assert b"Too many open files" in process.stderr.readline()
        for number in range(3):
            first.sendall(b"a%d PING\n" % number)
            assert answers.readline() == b"a%d OK\n" % number
