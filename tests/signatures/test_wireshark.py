"""The dissector, run by tshark on captures of TCP connections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.signatures.dissection import Dissect, Line, Said, of_tcp, run_tshark, tcp_capture
from tests.spec.documents import line_of, vectors_of

pytestmark = pytest.mark.heavy

SESSION: list[Said] = [
    ("server", b"* ESPS/1 esps-portal/0.1.0\n"),
    ("client", b"1 HELLO ESPS/2 ESPS/1\n"),
    ("server", b"1 OK ESPS/1 esps-portal/0.1.0 max-line=8192\n"),
    ("client", b"2 CALL delay 300 late\n3 CALL drip 2 1\n\n4 PING\n"),
    ("server", b"4 OK\n3 DATA 1\n"),
    ("server", b"3 DATA 2\n3 OK 2\n"),
    ("client", b"2 PING\n5  PING\n@ PING\n"),
    ("server", b"* ERR tag-in-use 2\n5 ERR bad-line one%20SP too\n* ERR bad-line\n"),
    ("server", b"2 OK late\n"),
    ("client", b"2 QUIT ####\n"),
    ("server", b"2 OK\n"),
]
# For each line: what is shown, where its request is in the list, and seconds from there.
EXPECTED: list[tuple[dict[str, Any], int | None, float]] = [
    ({"kind": "notice", "notice": "ESPS/1", "product": "esps-portal/0.1.0"}, None, 0),
    ({"kind": "request", "tag": "1", "verb": "HELLO", "version": ["ESPS/2", "ESPS/1"]}, None, 0),
    ({"status": "OK", "version": "ESPS/1", "product": "esps-portal/0.1.0"}, 1, 0.25),
    ({"tag": "2", "verb": "CALL", "service": "delay", "arg": ["delay", "300", "late"]}, None, 0),
    ({"tag": "3", "verb": "CALL", "service": "drip", "arg": ["drip", "2", "1"]}, None, 0),
    ({"tag": "4", "verb": "PING", "arg": None}, None, 0),
    ({"kind": "reply", "tag": "4", "status": "OK", "error": None}, 5, 0.25),
    ({"tag": "3", "status": "DATA", "arg": "1"}, 4, 0.25),
    ({"tag": "3", "status": "DATA", "arg": "2"}, 4, 0.5),
    ({"tag": "3", "status": "OK", "arg": "2"}, 4, 0.5),
    ({"tag": "2", "verb": "PING", "tag_reused": ""}, None, 0),
    ({"tag": "5", "malformed": "no verb", "bad_line": "", "verb": None}, None, 0),
    ({"tag": None, "malformed": "no tag", "bad_line": ""}, None, 0),
    ({"kind": "notice", "notice": "ERR", "code": "tag-in-use", "arg": "2", "text": None}, 10, 0.25),
    ({"tag": "5", "code": "bad-line", "text": "one SP too", "error": ""}, 11, 0.25),
    ({"kind": "notice", "code": "bad-line", "tag": None}, 12, 0.25),
    ({"tag": "2", "status": "OK", "arg": "late"}, 3, 1.25),
    ({"tag": "2", "verb": "QUIT", "padding": "4", "tag_reused": None}, None, 0),
    ({"tag": "2", "status": "OK", "unasked": None}, 17, 0.25),
]


def check(lines: list[Line]) -> None:
    """Check that these are the lines of `SESSION`, with their links."""
    assert len(lines) == len(EXPECTED)
    for line, (fields, request, _) in zip(lines, EXPECTED, strict=True):
        for name, value in fields.items():
            shown = line.fields.get(name)
            assert shown == (value if value is None or isinstance(value, list) else [value]), name
        asked = None if request is None else lines[request]
        assert line.get("response_to") == (str(asked.frame) if asked else None)
    for number, line in enumerate(lines):
        answers = [
            answer.frame
            for answer, (_, request, _) in zip(lines, EXPECTED, strict=True)
            if request == number and answer.get("status") != "DATA"
        ]
        assert line.fields.get("response_in", []) == list(map(str, answers))


@of_tcp(SESSION)
def test_a_session(lines: list[Line]) -> None:
    check(lines)
    for line, (_, request, seconds) in zip(lines, EXPECTED, strict=True):
        shown = line.get("time")
        assert shown == (None if request is None else f"{seconds:.9f}")


@pytest.mark.parametrize(("size", "port"), [(1, 2867), (2, 2867), (7, 40_000)])
def test_a_session_in_small_segments(dissect: Dissect, size: int, port: int) -> None:
    parts: list[Said] = [
        (side, data[start : start + size])
        for side, data in SESSION
        for start in range(0, len(data), size)
    ]
    options = [] if port == 2867 else ["-d", f"tcp.port=={port},esps"]
    lines = dissect(tcp_capture(parts, port=port), *options)
    check(lines)
    sent = b"".join(data for _, data in SESSION).replace(b"\n\n", b"\n")
    assert sum(line.size for line in lines) == len(sent)


@of_tcp(
    [
        ("client", b"a PING x\nb PI"),
        ("client", b"NG y\nc PING z\nd PI"),
        ("client", b"NG\n"),
    ]
)
def test_several_lines_in_a_segment_and_one_across_two(lines: list[Line]) -> None:
    """The second segment ends a line and has two more, so it is handed over in parts."""
    assert [(line.get("tag"), line.get("arg")) for line in lines] == [
        ("a", "x"),
        ("b", "y"),
        ("c", "z"),
        ("d", None),
    ]
    frames = [line.frame for line in lines]
    assert frames[0] < frames[1] == frames[2] < frames[3]


def test_the_columns(tool: Callable[[str], str], tmp_path: Path) -> None:
    said: list[Said] = [("client", b"a PING"), ("client", b" x%20y\nb  PING\nc PING\nd P")]
    options = "-Y esps.tag -T fields -e _ws.col.Protocol -e _ws.col.Info".split()
    printed = run_tshark(tool("tshark"), tmp_path, tcp_capture(said), *options)
    assert printed.decode().strip() == "ESPS\ta PING x%20y | [malformed] b  PING | c PING"


VECTORS = [parameter.values[0] for parameter in vectors_of("codec")]
GREETING: Said = ("server", b"* ESPS/1 x/1\n")


@of_tcp([GREETING, *(("client", line_of(vector) + b"\n") for vector in VECTORS)])
def test_the_codec_vectors(lines: list[Line]) -> None:
    """A line is malformed if a server must reject it with ``bad-line``; arguments are decoded."""
    assert len(lines) == 1 + len(VECTORS) > 30
    for line, vector in zip(lines[1:], VECTORS, strict=True):
        assert ("malformed" in line.fields) is ("error" in vector), vector["id"]
        if "error" not in vector:
            assert (line.get("tag"), line.get("verb")) == (vector["tag"], vector["verb"])
            expected = [shown(bytes.fromhex(arg)) for arg in vector["args_hex"]]
            assert line.fields.get("arg", []) == expected, vector["id"]


def shown(argument: bytes) -> str:
    """Return an argument as it is shown: as text, or with all bytes escaped that are not ASCII."""
    try:
        text = argument.decode()
    except UnicodeDecodeError:
        text = "\0"
    if text.isprintable():
        return text
    return "".join(chr(b) if 0x20 <= b <= 0x7E else f"\\x{b:02X}" for b in argument)


OF_A_SERVER = [
    (b"a OK x%20y", None),
    (b"a DATA", None),
    (b"a ERR x-mine text", None),
    (b"* BYE closing", None),
    (b"* ESPS/1", None),
    (b"a PING", "no OK, DATA or ERR"),
    (b"a", "no OK, DATA or ERR"),
    (b"* HELLO", "no word of a notice"),
    (b"a ERR", "no error code"),
    (b"* ERR Bad", "no error code"),
    (b"a OK ####", "a malformed argument, or SP before it"),
    (b"a OK x ", "a malformed argument, or SP before it"),
    (b"@ OK", "no tag"),
    (b"a OK \x1b[31m", "a byte that is not visible ASCII"),
]


@of_tcp([GREETING, *(("server", line + b"\n") for line, _ in OF_A_SERVER)])
def test_the_lines_of_a_server(lines: list[Line]) -> None:
    assert [line.get("malformed") for line in lines[1:]] == [wrong for _, wrong in OF_A_SERVER]


@of_tcp([("client", b"1 OK\n"), ("server", b"1 ERR unknown-verb\n")])
def test_the_direction_decides_what_a_line_is(lines: list[Line]) -> None:
    """``1 OK`` of a client is a request, and its answer is an error."""
    request, reply = lines
    assert (request.get("kind"), request.get("verb")) == ("request", "OK")
    assert (reply.get("kind"), reply.get("response_to")) == ("reply", str(request.frame))


LENGTHS = [8192, 8193, 60_000]


def in_two_segments(length: int) -> list[Said]:
    line = b"a PING " + b"x" * (length - 8) + b"\n"
    return [("client", line[:5000]), ("client", line[5000:])]


@of_tcp(*map(in_two_segments, LENGTHS))
def test_a_long_line(lines: list[Line]) -> None:
    assert [line.size for line in lines] == LENGTHS
    assert ["too_long" in line.fields for line in lines] == [length > 8192 for length in LENGTHS]


@of_tcp([("client", b"x" * 10_000)] * 10)
def test_what_never_ends_is_not_kept(lines: list[Line]) -> None:
    assert [line.get("malformed") for line in lines] == ["no LF at the end"]
    assert lines[0].size == 70_000


@of_tcp([GREETING, ("server", b"* BYE idle\r\n")])
def test_a_server_ends_the_connection(lines: list[Line]) -> None:
    greeting, bye = lines
    assert "bye" not in greeting.fields
    assert (bye.get("notice"), bye.get("bye"), bye.get("cr")) == ("BYE", "", "")


@of_tcp([("client", b"a CALL stall\n")], [("client", b"a PING\n"), ("server", b"a OK\n")])
def test_the_same_tag_on_two_connections(lines: list[Line]) -> None:
    _, ping, pong = lines
    assert [line.get("tag_reused") for line in lines] == [None] * 3
    assert (pong.get("response_to"), ping.get("response_in")) == (
        str(ping.frame),
        str(pong.frame),
    )
